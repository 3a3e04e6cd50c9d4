"""How should the network look at a photo? Compare sizes, shapes, the mirror image, and their means.

    python recipes/compare_looks.py DATA UNET.onnx OUT.csv

DATA is what person_network.py trains on, UNET.onnx the U-Net without a second opinion
(`second_opinion.py export … --share 0`). Each way to look is a row: the threshold and least peak
that `choose` of compare_networks.py takes for it on the 120 photos of `choose`, the IoU there and
its gain over one look at a square of 384, photo by photo, with its 95 % interval; the same gain on
130 COCO photos of mostly small people and on 101 street photos, which the shipped network was never
trained on (bags are left out of the street photos' people, so only the gain counts); and in which
share of 140 photos without people, and of the photos' parts around people that false_alarms.py
takes, somebody is found. OUT.csv is written after each row.
"""
import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from arguments import recipe_parser
from compare_networks import Mean, choose, peaks, quality, scan, thresholds
from false_alarms import around_people

from bg_remover.base.looks import Look, look_size, mean_look
from bg_remover.generator import Pairs
from bg_remover.images import read_image, read_mask, resize_image
from bg_remover.metrics import bootstrap_interval, score
from bg_remover.removal import Network

stretched, mirrored = (Look(each) for each in (False, True))
shaped, shaped_mirrored = (Look(each, keeps_shape=True) for each in (False, True))
ways = {  # looks, and the side of a square with as many pixels
    "a square of 384": [(stretched, 384)],
    "and its mirror image": [(stretched, 384), (mirrored, 384)],
    "both at 384 and 512": [(look, side) for side in (384, 512) for look in (stretched, mirrored)],
    "the photo's shape, 416": [(shaped, 416)],
    "384, and 416 in its shape mirrored": [(stretched, 384), (shaped_mirrored, 416)],
    "the shape of 416 and its mirror image": [(shaped, 416), (shaped_mirrored, 416)],
    "all four of 384 and 416": [(stretched, 384), (mirrored, 384), (shaped, 416),
                                (shaped_mirrored, 416)],
}
sources = {"choose": "pairs", "coco-more": "extra", "ccp": "extra"}  # and where their photos lie


class Way(Mean):
    "The mean of one network's answers to some looks."
    def __init__(self, network: Network, looks: list[tuple[Look, int]]):
        self.network, self.looks = network, looks

    def answer(self, photo: np.ndarray) -> np.ndarray:
        sides = iter([side for _, side in self.looks])
        def see(image, look):
            size = look_size(look, (next(sides),) * 2, image.shape[:2])
            pixels = np.float32(resize_image(image, size))[None]
            return self.network.session.run(["probability"], {"image": pixels})[0][0, ..., 0]
        return np.float32(mean_look(see, photo, [look for look, _ in self.looks]))


def photos_of(data: Path, source: str) -> Pairs:
    "The photos of `choose`, or of a source that is new to the network; of many, every fifth."
    folder = data / sources[source]
    with open(folder / "index.csv", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)
                 if source in (row["split"], row["source"])]
    names = names[::5 if len(names) > 200 else 1]
    return Pairs(folder / "frames", folder / "masks", names=names)


def ious_at(way: Way, pairs: Pairs, peak: float, threshold: float) -> np.ndarray:  # one a photo
    "IoU of each photo at its own size."
    return np.array([score(way.probability(read_image(frame), peak), read_mask(mask),
                           threshold)["iou"]
                     for frame, mask in zip(pairs.frame_paths, pairs.mask_paths)])


def describe(way: Way, data: Path, first: dict) -> dict:
    "The row of one way; `first` gets the IoUs of the first one."
    ious = scan(way, photos_of(data, "choose"))
    place, best = choose(ious)
    peak, threshold = peaks[place], thresholds[best]
    row = dict(threshold=threshold, peak=peak, choose=ious[place, best].mean())
    for source in sources:
        mine = (ious[place, best] if source == "choose"
                else ious_at(way, photos_of(data, source), peak, threshold))
        gain = mine - first.setdefault(source, mine)
        low, high = bootstrap_interval(gain)
        row |= {f"{source} gain": gain.mean(), f"{source} low": low, f"{source} high": high}
    empty = {"false alarms": map(read_image, quality.photos_without_people(data)),
             "around people": around_people(data)}
    for name, photos in empty.items():
        alarms, count = quality.count_alarms(lambda photo: way.probability(photo, peak),
                                              threshold, photos)
        row[name] = alarms / count
    return row


def compare(ways: Iterable[tuple[dict, Way]], data: Path, out: Path):
    "Measure the ways in their order, each with the columns that name it; the first is the measure."
    table, first = [], {}
    for names, way in ways:
        table.append(names | describe(way, data, first))
        print(*(f"{value:.4f}" if isinstance(value, float) else value
                for value in table[-1].values()), flush=True)
        quality.write_table(out, table)


def main():
    options = recipe_parser(__doc__, "data", "network", "out").parse_args()
    network = Network(options.network)
    compare(((dict(looks=name), Way(network, looks)) for name, looks in ways.items()),
            options.data, options.out)


if __name__ == "__main__": main()
