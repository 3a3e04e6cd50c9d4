"""How should the network look at a photo? Compare sizes, shapes, the mirror image, and their means.

    python recipes/compare_looks.py DATA OUT.csv

DATA is what person_network.py trains on. Each way to look is a row: the threshold and least peak
that `choose` of compare_networks.py takes for it on the 120 photos of `choose`, the IoU there and
its gain over one look at a square of 384, photo by photo, with its 95 % interval; the same gain on
130 COCO photos of mostly small people and on 101 street photos, which the shipped network was never
trained on (bags are left out of the street photos' people, so only the gain counts); and the share
of 140 photos without people in which somebody is found. OUT.csv is written after each row.
"""
import csv
from pathlib import Path

import numpy as np

from arguments import recipe_parser
from compare_networks import choose, peaks, quality, thresholds

from bg_remover.base.network import Look, look_size, mean_look
from bg_remover.images import read_image, read_mask, resize_image
from bg_remover.metrics import bootstrap_interval, score
from bg_remover.removal import Network, hysteresis_threshold, refine

whole, mirrored = Look(), Look(mirrored=True)
shaped, both = Look(keeps_shape=True), Look(mirrored=True, keeps_shape=True)
ways = {  # looks, and the side of a square with as many pixels
    "a square of 384": [(whole, 384)],
    "and its mirror image": [(whole, 384), (mirrored, 384)],
    "both at 384 and 512": [(look, side) for side in (384, 512) for look in (whole, mirrored)],
    "the photo's shape, 416": [(shaped, 416)],
    "384, and 416 in its shape mirrored": [(whole, 384), (both, 416)],
    "the shape of 416 and its mirror image": [(shaped, 416), (both, 416)],
    "all four of 384 and 416": [(whole, 384), (mirrored, 384), (shaped, 416), (both, 416)],
}
sources = {"choose": "pairs", "coco-more": "extra", "ccp": "extra"}  # and where their photos lie


def photos_of(data: Path, source: str) -> list[tuple[Path, Path]]:  # frames and masks
    "The photos of `choose`, or of a source that is new to the network; of many, every fifth."
    folder = data / sources[source]
    with open(folder / "index.csv", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file) if source in (row["split"],
                                                                           row["source"])]
    return [(folder / f"frames/{name}.jpg", folder / f"masks/{name}.png")
            for name in names[::5 if len(names) > 200 else 1]]


def answer(network: Network, way: list[tuple[Look, int]], photo: np.ndarray) -> np.ndarray:
    "The mean of the network's answers to all looks of a way."
    sides = [side for _, side in way]
    def see(image, look):
        side = sides.pop(0)
        if look.keeps_shape: side = side * 12 / 13  # `look_size` adds a twelfth
        size = look_size(look, (side, side), image.shape[:2])
        pixels = np.float32(resize_image(image, size))[None]
        return network.session.run(["probability"], {"image": pixels})[0][0, ..., 0]
    return np.float32(mean_look(see, photo, [look for look, _ in way]))


def scan(network: Network, way: list, photos: list, peaks, thresholds) -> np.ndarray:
    "IoU of each photo for all limits: peaks × thresholds × photos."
    found = np.zeros((len(peaks), len(thresholds), len(photos)))
    for place, (frame, mask) in enumerate(photos):
        photo, mask = read_image(frame), read_mask(mask)
        coarse = answer(network, way, photo)
        for row, peak in enumerate(peaks):
            probability = refine(hysteresis_threshold(coarse, peak), photo)
            found[row, :, place] = [score(probability, mask, each)["iou"] for each in thresholds]
    return found


def false_alarms(network: Network, way: list, data: Path, peak: float, threshold: float) -> float:
    "The share of photos without people in which somebody is found."
    alarms = []
    for path in quality.photos_without_people(data):
        photo = read_image(path)
        probability = refine(hysteresis_threshold(answer(network, way, photo), peak), photo)
        alarms.append((probability >= threshold).mean() >= quality.alarm_share)
    return float(np.mean(alarms))


def describe(network: Network, way: list, data: Path, first: dict) -> dict:
    "The row of one way; `first` gets the IoUs of the first one."
    ious = scan(network, way, photos_of(data, "choose"), peaks, thresholds)
    place, best = choose(ious)
    peak, threshold = peaks[place], thresholds[best]
    row = dict(threshold=threshold, peak=peak, choose=ious[place, best].mean())
    for source in sources:
        mine = ious[place, best] if source == "choose" else scan(
            network, way, photos_of(data, source), [peak], [threshold])[0, 0]
        gain = mine - first.setdefault(source, mine)
        low, high = bootstrap_interval(gain)
        row |= {f"{source} gain": gain.mean(), f"{source} low": low, f"{source} high": high}
    return row | {"false alarms": false_alarms(network, way, data, peak, threshold)}


def main():
    options = recipe_parser(__doc__, "data", "out").parse_args()
    network, table, first = Network(), [], {}
    for name, way in ways.items():
        table.append(dict(looks=name) | describe(network, way, options.data, first))
        print(*(f"{value:.4f}" if isinstance(value, float) else value
                for value in table[-1].values()), flush=True)
        quality.write_table(options.out, table)


if __name__ == "__main__": main()
