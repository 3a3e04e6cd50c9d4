"""Choose share, threshold and least peak of networks on `choose`, and compare them.

    python recipes/compare_networks.py DATA OUT.csv NAME=FILE.onnx[,FILE.onnx@SHARE] ... [--final]

DATA is what person_model.py trains on. With a second file, SHARE of the answer is that one's; with
careful:FILE.onnx, the network looks twice, as `careful=True` does. The first network is the
one that the others are held against, photo by photo. --final also measures what confirms and never
chooses: COCO's 68 val photos, false alarms on the `alarm` photos and on COCO's val photos without
people (as benchmarks/quality.py counts them), portraits (a twentieth of those that were trained on,
so a training score), the photos of `choose` on their side, and milliseconds for the network alone,
medians by turns. OUT.csv gets a row for each network.
"""
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

root = Path(__file__).resolve().parent.parent
sys.path.append(str(root / "benchmarks"))
import quality
from arguments import recipe_parser
from person_model import affordable, split_rows

from bg_remover.generator import Pairs
from bg_remover.images import read_image, read_mask, resize_probability
from bg_remover.metrics import bootstrap_interval, score
from bg_remover.removal import Network, hysteresis_threshold, refine
from bg_remover.training import evaluate

thresholds = tuple(np.arange(0.35, 0.61, 0.05).round(2).tolist())
peaks = (0.0, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


class Mean:
    "One exported network, or the weighted mean answer of two."
    def __init__(self, text: str):
        files, _, share = text.removeprefix("careful:").partition("@")
        self.networks = [Network(file, careful=text.startswith("careful:"))
                         for file in files.split(",")]
        self.share = float(share or 1)

    def answer(self, photo: np.ndarray) -> np.ndarray:
        first, *more = (network.answer(photo) for network in self.networks)
        for answer in more:
            second = resize_probability(answer, first.shape)
            first = (1 - self.share) * first + self.share * second
        return np.float32(first)

    def probability(self, photo: np.ndarray, peak: float) -> np.ndarray:
        return refine(hysteresis_threshold(self.answer(photo), peak), photo)


def split_names(data: Path, split: str, source: str = "") -> list[str]:
    "Names of the pairs of one split."
    return [row["name"] for row in split_rows(data, split) if row["source"].startswith(source)]


def split_pairs(data: Path, names: list[str]) -> Pairs:
    "Some of the pairs."
    return Pairs(data / "pairs/frames", data / "pairs/masks", names=names)


def scan(network: Mean, pairs: Pairs) -> np.ndarray:  # peaks × thresholds × photos
    "IoU of each photo at its own size, by what a region has to reach and by threshold."
    found = np.zeros((len(peaks), len(thresholds), len(pairs)))
    for photo, (frame, mask) in enumerate(zip(pairs.frame_paths, map(read_mask, pairs.mask_paths))):
        frame = read_image(frame)
        answer = network.answer(frame)
        before = None
        for row, peak in enumerate(peaks):
            kept = hysteresis_threshold(answer, peak)
            if before is None or not np.array_equal(kept, before):  # most peaks change nothing
                probability = refine(kept, frame)
                ious = [score(probability, mask, each)["iou"] for each in thresholds]
            found[row, :, photo], before = ious, kept
    return found


def choose(ious: np.ndarray) -> tuple[int, int]:  # places in `peaks` and `thresholds`
    "The best threshold without doubtful regions left out, then the highest peak that costs little."
    means = ious.mean(axis=2)
    best = int(means[0].argmax())
    kept = [row for row in range(len(peaks)) if means[row, best] >= means[0, best] - affordable]
    return max(kept), best


def describe(ious: np.ndarray, first: np.ndarray | None) -> dict:
    "The row of one network, from what `scan` found for it and for the first one."
    peak, best = choose(ious)
    row = dict(choose=ious[peak, best].mean())
    row |= dict(zip(("low", "high"), bootstrap_interval(ious[peak, best])))
    row |= dict(threshold=thresholds[best], peak=peaks[peak])
    if first is None: return row | {"ahead": "", "ahead low": "", "ahead high": ""}
    ahead = ious[peak, best] - first[choose(first)]
    return row | dict(zip(("ahead", "ahead low", "ahead high"),
                          (ahead.mean(), *bootstrap_interval(ahead))))


def turned(predict, pairs: Pairs, threshold: float) -> float:
    "Mean IoU of photos that lie on their side."
    ious = []
    for frame, mask in zip(pairs.frame_paths, pairs.mask_paths):
        frame, mask = (np.ascontiguousarray(np.rot90(each))
                       for each in (read_image(frame), read_mask(mask)))
        ious.append(score(predict(frame), mask, threshold)["iou"])
    return float(np.mean(ious))


def confirm(network: Mean, data: Path, peak: float, threshold: float) -> dict: # columns of its row
    "What is measured once a network is chosen."
    def predict(photo): return network.probability(photo, peak)
    with tempfile.TemporaryDirectory() as work:
        pairs = quality.photos_with_people(data / "coco", Path(work))
        empty = quality.photos_without_people(data)
        full, _ = quality.measure(predict, threshold, pairs, empty)
    row = {f"68 photos {key}": full[key] for key in ("IoU", "low", "high", "boundary")}
    row["false alarms of 140"] = full["false alarms"]
    names = split_names(data, "train", "portrait")[::20]
    mean = evaluate(predict, split_pairs(data, names), threshold=threshold)
    row |= dict(portraits=mean["iou"], portraits_boundary=mean["boundary_iou"])
    pairs = split_pairs(data, split_names(data, "choose"))
    return row | dict(turned=turned(predict, pairs, threshold))


def by_turns(networks: dict[str, Mean], photo: np.ndarray, turns: int = 15) -> dict[str, float]:
    "Median milliseconds; a network answers thrice in its turn, and the last time counts."
    times = {name: [] for name in networks}
    for _ in range(turns):
        for name, network in networks.items():
            for _ in range(3):
                begun = time.perf_counter()
                network.answer(photo)
                took = time.perf_counter() - begun
            times[name].append(1000 * took)
    return {name: float(np.median(each)) for name, each in times.items()}


def main():
    parser = recipe_parser(__doc__, "data", "out")
    parser.add_argument("networks", nargs="+", metavar="NAME=FILE.onnx")
    parser.add_argument("--final", action="store_true")
    options = parser.parse_args()
    networks = {}
    for one in options.networks:
        name, _, text = one.partition("=")
        networks[name] = Mean(text)
    pairs, table, first = split_pairs(options.data, split_names(options.data, "choose")), [], None
    times = by_turns(networks, pairs[0][0]) if options.final else {}
    for name, network in networks.items():
        ious = scan(network, pairs)
        row = dict(variant=name) | describe(ious, first) | dict(ms=times.get(name, ""))
        first = ious if first is None else first
        if options.final: row |= confirm(network, options.data, row["peak"], row["threshold"])
        table.append(row)
        print({key: round(value, 4) if isinstance(value, float) else value
               for key, value in row.items()}, flush=True)
        quality.write_table(options.out, table)


if __name__ == "__main__": main()
