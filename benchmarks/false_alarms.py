"""In how many photos without people does a network find somebody?

    python benchmarks/false_alarms.py DATA PEERS UNET.onnx

DATA and PEERS are those of quality.py, UNET.onnx is the U-Net without a second opinion
(recipes/second_opinion.py). Counted as quality.py counts: at least 1 % of the pixels are
called a person, each network at its threshold. Writes results/false_alarms.csv: the share of photos
with its Wilson interval, for three kinds of photos. Ours are always measured; what the file holds
of the others is kept.

    any            those of quality.py
    animals        mostly animals (DATA/extra, source `voc-background`); the U-Net was never trained
                   on them, but DeepLab was: they are of PASCAL VOC's training photos
    around people  what lies beside all people's boxes (DATA/extra/boxes.json) in photos of COCO
                   val2017, where that is at least two fifths of the photo; new to every network
"""
import argparse
import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from evaluate import wilson_interval
from quality import Peer, count_alarms, folder, photos_without_people, tflite, write_table

from bg_remover.images import read_image
from bg_remover.removal import Remover

least_part, least_side, margin = 0.4, 120, 0.02  # of a photo, pixels, of a photo


def animals(data: Path) -> list[Path]:
    "Photos without people, mostly of animals."
    with open(data / "extra/index.csv", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file) if row["source"] == "voc-background"]
    return [data / f"extra/frames/{name}.jpg" for name in names]


def around_people(data: Path) -> Iterator[np.ndarray]:
    "The largest part of each photo that lies to one side of everybody in it."
    for name, people in json.loads((data / "extra/boxes.json").read_text()).items():
        centre, size = np.split(np.array(people), 2, axis=1)  # each x, y, as shares of the photo
        left, top = (centre - size / 2).min(0) - margin
        right, bottom = (centre + size / 2).max(0) + margin
        share, place = max((left, (0, 1, 0, left)), (1 - right, (0, 1, right, 1)),
                           (top, (0, top, 0, 1)), (1 - bottom, (bottom, 1, 0, 1)))
        if share < least_part: continue
        photo = read_image(data / f"extra/frames/{name}.jpg")
        rows, columns = (np.ceil(length * np.array(ends)).astype(int)
                         for length, ends in zip(photo.shape, (place[:2], place[2:])))
        part = photo[slice(*rows), slice(*columns)]
        if min(part.shape[:2]) >= least_side: yield np.ascontiguousarray(part)


def measure(predict: Callable, threshold: float, photos: Iterator[np.ndarray]) -> dict:
    "What a row says of one network and one kind of photos."
    alarms, count = count_alarms(predict, threshold, photos)
    low, high = wilson_interval(alarms, count)
    return dict(count=count, alarms=alarms / count, low=low, high=high)


def photos_without(data: Path) -> dict[str, Iterator[np.ndarray]]:
    "The kinds of photos without people, read one by one."
    return {"any": map(read_image, photos_without_people(data)),
            "animals": map(read_image, animals(data)), "around people": around_people(data)}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("peers", type=Path)
    parser.add_argument("unet", type=Path)
    options = parser.parse_args()
    ours = {"bg_remover as it ships": Remover(), "its U-Net alone": Remover(options.unet)}
    networks = {name: (one.probability, one.threshold) for name, one in ours.items()}
    networks |= {name: (Peer(options.peers / f"{file}.tflite", prepare, read), 0.5)
                 for name, (file, prepare, read) in tflite.items()}
    path, table = folder / "results/false_alarms.csv", []
    with open(path, newline="") as file:
        earlier = {(row["network"], row["photos"]): row for row in csv.DictReader(file)
                   if row["network"] not in ours}
    for name, (predict, threshold) in networks.items():
        for kind, photos in photos_without(options.data).items():
            row = earlier.get((name, kind)) or measure(predict, threshold, photos)
            table.append(dict(network=name, photos=kind) | row)
            print(*table[-1].values(), flush=True)
    write_table(path, table)


if __name__ == "__main__": main()
