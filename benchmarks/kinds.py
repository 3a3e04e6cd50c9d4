"""On which kinds of photos is the network good? The photos of quality.py, grouped by COCO's marks.

    python benchmarks/kinds.py [COCO_DIR]

Takes the IoU of each photo from results/quality_photos.csv, so run quality.py first, and COCO's
annotations of val2017 for the kinds. COCO marks no faces here; whether people reach the photo's
upper edge, where heads are cut off, stands in for it. Writes results/kinds.csv: the mean IoU of
each kind with its 95 % interval. A photo may be of several kinds.
"""
import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from quality import min_person_fraction, write_table

from bg_remover.data_prep import open_coco, person_annotations
from bg_remover.metrics import bootstrap_interval

root = Path(__file__).resolve().parent.parent
network = "bg_remover as it ships"
edge = 0.01  # of the photo's height: so close to the upper edge is cut off


class Photo(NamedTuple):
    "What COCO says about one photo."
    share: float  # of its pixels that are people
    boxes: np.ndarray  # people × (x, y, width, height), the largest first, in pixels
    height: int


def largest(photo: Photo) -> np.ndarray: return photo.boxes[0]


kinds: dict[str, Callable[[Photo], bool]] = {
    "all": lambda photo: True,
    "5 to 15 % of the photo": lambda photo: photo.share < 0.15,
    "15 to 35 %": lambda photo: 0.15 <= photo.share < 0.35,
    "more than 35 %": lambda photo: photo.share >= 0.35,
    "one person": lambda photo: len(photo.boxes) == 1,
    "two or three": lambda photo: 2 <= len(photo.boxes) <= 3,
    "four or more": lambda photo: len(photo.boxes) >= 4,
    "cut off at the top": lambda photo: largest(photo)[1] < edge * photo.height,
    "not cut off at the top": lambda photo: largest(photo)[1] >= edge * photo.height,
    "higher than wide": lambda photo: largest(photo)[3] > largest(photo)[2],
    "wider than high": lambda photo: largest(photo)[3] <= largest(photo)[2],
}


def read_photos(coco_dir: Path) -> list[tuple[float, Photo]]: # IoU of each photo that counts
    "The photos of quality.py with at least 5 % person."
    coco, found = open_coco(coco_dir, "val"), []
    with open(root / "benchmarks/results/quality_photos.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if float(row["share"]) < min_person_fraction: continue
        marks = [one for one in person_annotations(coco, int(row["photo"])) if not one["iscrowd"]]
        boxes = np.array(sorted((one["bbox"] for one in marks), key=lambda box: -box[2] * box[3]))
        height = coco.imgs[int(row["photo"])]["height"]
        found.append((float(row[network]), Photo(float(row["share"]), boxes, height)))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("coco_dir", type=Path, nargs="?", default=root / "data/coco")
    photos, table = read_photos(parser.parse_args().coco_dir), []
    for name, belongs in kinds.items():
        ious = np.array([iou for iou, photo in photos if belongs(photo)])
        low, high = bootstrap_interval(ious)
        table.append(dict(kind=name, photos=len(ious), iou=ious.mean(), low=low, high=high))
        print(f"{name:24}{len(ious):4}{ious.mean():8.3f}   {low:.3f} to {high:.3f}")
    write_table(root / "benchmarks/results/kinds.csv", table)


if __name__ == "__main__": main()
