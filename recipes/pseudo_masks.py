"""Masks for photos that have only boxes around their people: the networks' answer, where it is
sure.

    python recipes/pseudo_masks.py DATA OUT NAME.onnx[,OTHER.onnx@SHARE]

Writes OUT/masks and OUT/index.csv for the photos that DATA/extra/boxes.json names, and OUT/frames
as a link to theirs. The answer is the mean of a look at the whole photo and of one at each box and
what surrounds it. A pixel outside all boxes is background. Inside, above 0.65 is a person (255) and
below 0.2 is background; what lies between counts neither way (128), and so does a box of which less
than a tenth was found: the networks missed somebody there.
"""
import csv
import json

import numpy as np

from arguments import recipe_parser
from compare_networks import Mean

from bg_remover.images import read_image, resize_probability, write_mask

person, background, least_found = 0.65, 0.2, 0.1
least_side = 48  # pixels of a box, for a look of its own


def corners(box: list[float], shape: tuple, margin: float = 0) -> tuple[slice, slice]:
    "A box (centre x, centre y, width, height as shares of the photo) as rows and columns."
    centre, size = np.array(box[1::-1]) * shape[:2], np.array(box[:1:-1]) * shape[:2]
    reach = size / 2 + margin * size.max()
    low = np.clip(np.floor(centre - reach), 0, None).astype(int)
    high = np.clip(np.ceil(centre + reach), 0, shape[:2]).astype(int)
    return slice(low[0], high[0]), slice(low[1], high[1])


def looks(network: Mean, photo: np.ndarray, boxes: list[list[float]]) -> np.ndarray:
    "The mean probability of a look at the whole photo and at each large enough box."
    total = resize_probability(network.answer(photo), photo.shape[:2])
    count = np.ones_like(total)
    for box in boxes:
        place = corners(box, photo.shape, margin=0.2)
        part = np.ascontiguousarray(photo[place])
        if min(part.shape[:2]) < least_side: continue
        total[place] += resize_probability(network.answer(part), part.shape[:2])
        count[place] += 1
    return total / count


def pseudo_mask(probability: np.ndarray, boxes: list[list[float]]) -> np.ndarray:
    "255 is a person, 0 background, 128 neither way."
    inside = np.zeros(probability.shape, bool)
    for box in boxes: inside[corners(box, inside.shape)] = True
    mask = np.where(inside & (probability > person), np.uint8(255), np.uint8(0))
    mask[inside & (probability > background) & (probability <= person)] = 128
    for box in boxes:
        place = corners(box, mask.shape)
        if (mask[place] == 255).mean() < least_found:
            mask[place][mask[place] == 0] = 128
    return mask


def main():
    parser = recipe_parser(__doc__, "data", "out")
    parser.add_argument("network", type=Mean, metavar="NAME.onnx")
    options = parser.parse_args()
    boxes = json.loads((options.data / "extra/boxes.json").read_text())
    (options.out / "masks").mkdir(parents=True, exist_ok=True)
    if not (options.out / "frames").exists():
        (options.out / "frames").symlink_to((options.data / "extra/frames").resolve())
    with open(options.out / "index.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "source", "foreground", "split"))
        for name, people in boxes.items():
            photo = read_image(options.data / f"extra/frames/{name}.jpg")
            mask = pseudo_mask(looks(options.network, photo, people), people)
            write_mask(options.out / f"masks/{name}.png", mask)
            share = float((mask == 255).mean())
            if share: writer.writerow((name, "pseudo", round(share, 4), "train"))


if __name__ == "__main__": main()
