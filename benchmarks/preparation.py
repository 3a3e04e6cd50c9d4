"""How fast photos become pairs: `python benchmarks/preparation.py [COCO]`, the samples unless a
COCO folder is named.

The folder's train photos are repeated until there are enough, and three things run by turns, 2,000
photos each in eight rounds:

    ours        `prepare_pairs` at 256×256
    baseline    the original tutorial's loop, with its faults: `annToMask` of every person at full
                size, added up; the photo read and written, the mask written, both as JPEG; then
                both read again, resized and written once more, which the tutorial did off-stage
    limit       reading and decoding the photos at full size, and nothing else, on all cores

The speeds go to results.json. Afterwards the files are read back: the same photos, the same size,
and how well the masks agree with masks drawn at full size by pycocotools' own `annToMask` and then
resized, which is printed.

Where the time goes: the decoder, then the averaging, then the creation of two files, which on ext4
costs the kernel more than a third as much as decoding does (in memory, next to nothing); renaming
them adds little.

Tried and lost: polygons drawn at the small size (quicker by a twentieth of the whole, but with
small people the mean IoU with the large ones is 0.973); more threads than cores (they wait for one
another); a box filter, or an exact half first, in place of averaging (quicker by a tenth, but
another way than everywhere else); decoding at half size whatever it costs (what must be enlarged
again is 4 dB further from the averaged photo).
"""
import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from claims import keep_claim

from bg_remover.base.work import usable_cores
from bg_remover.data_prep import annotation_file, open_coco, person_ids, prepare_pairs
from bg_remover.images import read_image, read_mask, resize_mask
from bg_remover.metrics import iou

samples = Path(__file__).resolve().parent.parent / "nbs/samples/mini_coco"
size = (256, 256)


def repeat_coco(
    root: Path, # a COCO folder with a train split
    dest: Path, # COCO folder to make
    count: int, # photos with people in it
):
    "The photos with people of a COCO folder over and over, under new numbers. The files are links."
    content, coco = json.loads(annotation_file(root, "train").read_text()), open_coco(root, "train")
    ids = person_ids(coco)
    (dest / "train2017").mkdir(parents=True)
    images, annotations = [], []
    for number in range(count):
        record = coco.imgs[ids[number % len(ids)]]
        name = f"{number + 1:012}.jpg"
        (dest / "train2017" / name).symlink_to((root / "train2017" / record["file_name"]).resolve())
        images.append(record | dict(id=number + 1, file_name=name))
        annotations += [one | dict(id=len(annotations) + place + 1, image_id=number + 1)
                        for place, one in enumerate(coco.imgToAnns[record["id"]])]
    (dest / "annotations").mkdir()
    content |= dict(images=images, annotations=annotations)
    annotation_file(dest, "train").write_text(json.dumps(content))


def link_many(
    pairs, # `Pairs`
    folder: Path, # to make, with frames/ and masks/
    count: int, # pairs in it
):
    "So many pairs, as links to the few that there are."
    for part, paths in (("frames", pairs.frame_paths), ("masks", pairs.mask_paths)):
        (folder / part).mkdir(parents=True)
        for number in range(count):
            path = paths[number % len(paths)]
            (folder / part / f"{number:06}{path.suffix}").symlink_to(path.resolve())


def original_loop(root: Path, full: Path, dest: Path):
    "What the tutorial did, faults and all: first in its notebook, then off-stage."
    coco = open_coco(root, "train")
    category = coco.getCatIds(catNms=["person"])
    for folder in (full, dest):
        for part in ("frames", "masks"): (folder / part).mkdir(parents=True)
    for image_id in coco.getImgIds(catIds=category):
        record = coco.loadImgs(image_id)[0]
        people = coco.loadAnns(coco.getAnnIds(imgIds=image_id, catIds=category, iscrowd=None))
        mask = coco.annToMask(people[0])
        for person in people[1:]: mask += coco.annToMask(person)
        cv2.imwrite(str(full / "frames" / record["file_name"]),
                    cv2.imread(str(root / "train2017" / record["file_name"])))
        cv2.imwrite(str(full / "masks" / record["file_name"]), mask)
    for part in ("frames", "masks"):
        for path in sorted((full / part).iterdir()):
            cv2.imwrite(str(dest / part / path.name), cv2.resize(cv2.imread(str(path)), size[::-1]))


def decode_all(root: Path):
    "Read and decode every photo, and nothing else."
    def decode(path):
        return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB).shape
    with ThreadPoolExecutor(usable_cores()) as threads:
        list(threads.map(decode, sorted((root / "train2017").iterdir())))


def seconds(call: Callable, *arguments) -> float:
    begun = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - begun


def one_round(root: Path, work: Path) -> tuple[float, float, float]: # seconds
    "Ours, the baseline and the limit, each once, into new folders."
    for name in ("ours", "full", "original"): shutil.rmtree(work / name, ignore_errors=True)
    return (seconds(prepare_pairs, root, "train", work / "ours", size),
            seconds(original_loop, root, work / "full", work / "original"),
            seconds(decode_all, root))


def full_size_mask(coco, image_id: int) -> np.ndarray: # bool 256×256
    "The union of all people at full size, by pycocotools' own means, then resized."
    people = coco.getAnnIds(imgIds=image_id, catIds=coco.getCatIds(catNms=["person"]))
    masks = [coco.annToMask(one) for one in coco.loadAnns(people)]
    return resize_mask(np.max(masks, axis=0), size) > 0


def agreement(root: Path, work: Path, count: int) -> dict[str, float]: # mean IoU by name
    """Read the files back: the same names and sizes, and how far the masks are from the
    full-size ones."""
    names = [sorted(path.stem for path in (work / folder / part).iterdir())
             for folder in ("ours", "original") for part in ("frames", "masks")]
    coco = open_coco(root, "train")
    if any(found != [f"{image_id:012}" for image_id in person_ids(coco)] for found in names):
        raise RuntimeError("the two did not keep the same photos")
    scores = []
    for image_id in person_ids(coco, count):
        name, truth = f"{image_id:012}", full_size_mask(coco, image_id)
        mine = read_mask(work / "ours/masks" / f"{name}.png")
        other = cv2.imread(str(work / "original/masks" / f"{name}.jpg"), cv2.IMREAD_GRAYSCALE)
        frames = [read_image(work / folder / "frames" / f"{name}.jpg")
                  for folder in ("ours", "original")]
        if {array.shape[:2] for array in (mine, other, *frames)} != {size}:
            raise RuntimeError(f"photo {name} has another size")
        scores.append([iou(mine > 0, truth), iou(other > 0, truth)])
    return dict(zip(("ours", "original"), np.mean(scores, axis=0)))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("coco", type=Path, nargs="?", default=samples)
    parser.add_argument("--photos", type=int, default=250,
                        help="in each round; short ones, so that what else the machine does meets "
                        "all three alike")
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, work = Path(folder) / "coco", Path(folder)
        repeat_coco(options.coco, root, options.photos)
        rounds = [[options.photos / taken for taken in one_round(root, work)]
                  for _ in range(options.rounds)]
        ours, baseline, limit = map(list, zip(*rounds))
        keep_claim("preparation of pairs", ours, baseline, "photos/s", limit, aim=6)
        count = len(person_ids(open_coco(options.coco, "train")))
        for name, score in agreement(root, work, count).items():
            print(f"masks of {name} against full size, then resized: mean IoU {score:.4f}")


if __name__ == "__main__":
    main()
