"""Cut the people out of the sample photos: `python examples/demo.py`, or `make demo`.

Prints the IoU of each photo's mask with the true mask, and where the pictures lie. The validation samples were never trained on.
`python examples/demo.py --picture FILE` draws the picture of the README instead.
"""
import argparse
from pathlib import Path

import cv2
import numpy as np

from bg_remover.data_prep import prepare_pairs
from bg_remover.images import read_image, read_mask, resize_image, write_image
from bg_remover.metrics import score, summarize
from bg_remover.removal import Remover
from bg_remover.images import composite, on_checkerboard

root = Path(__file__).resolve().parent.parent
samples = root / "nbs/samples/mini_coco"
top, bottom = (250, 214, 165), (94, 129, 172) # RGB of the new background
in_the_picture = ("000000343937", "000000168974", "000000519208", "000000547336") # all CC BY, and so is the picture


def gradient(shape: tuple) -> np.ndarray:
    "A new background."
    return np.linspace(top, bottom, shape[0])[:, None].repeat(shape[1], axis=1)


def cut_samples(out: Path):
    "Cut out every validation sample with people and say how good each mask is."
    folder = prepare_pairs(samples, "val", out / "pairs", size=None)
    remover, scores = Remover(), []
    print(f"{'photo':<16}{'IoU':>6}   picture")
    for mask_path in sorted((folder / "masks").glob("*.png")):
        stem = mask_path.stem
        frame = read_image(folder / "frames" / f"{stem}.jpg")
        scores.append(score(remover.probability(frame), read_mask(mask_path), remover.threshold))
        cutout = remover.cutout(frame, empty_ok=True)
        write_image(out / f"{stem}_cutout.png", cutout)
        write_image(out / f"{stem}.jpg", np.hstack([frame, composite(cutout, gradient(frame.shape))]))
        print(f"{stem:<16}{scores[-1]['iou']:>6.3f}   {out / f'{stem}.jpg'}")
    mean = summarize(scores)
    print(f"{'mean':<16}{mean['iou']:>6.3f}   {mean['photos']} photos, never trained on; all pixels pooled: {mean['whole_set_iou']:.3f}")
    print(f"The cut-outs, with their transparency: {out / '*_cutout.png'}")


def draw_picture(path: Path, side: int = 300, gap: int = 8):
    "Photos above, cut-outs in the middle, new backgrounds below; each cropped to a square around its middle."
    remover, columns = Remover(), []
    for stem in in_the_picture:
        photo = read_image(samples / "val2017" / f"{stem}.jpg")
        cutout = remover.cutout(photo, empty_ok=True)
        rows = [photo, on_checkerboard(cutout), composite(cutout, gradient(photo.shape))]
        short, (height, width) = min(photo.shape[:2]), photo.shape[:2]
        y, x = (height - short) // 2, (width - short) // 2
        tiles = [resize_image(row[y:y + short, x:x + short], (side, side)) for row in rows]
        columns.append(np.vstack([cv2.copyMakeBorder(tile, 0, gap, 0, gap, cv2.BORDER_CONSTANT, value=(255,) * 3) for tile in tiles]))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.hstack(columns)[:-gap, :-gap])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=Path("demo"), help="folder for the pictures (default: demo)")
    parser.add_argument("--picture", type=Path, help="draw the README's picture here")
    options = parser.parse_args()
    draw_picture(options.picture) if options.picture else cut_samples(options.out)
