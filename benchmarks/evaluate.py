"""Measure an exported model on COCO photos at their own size.

    python benchmarks/evaluate.py COCO_ROOT [MODEL.onnx] [--split val] [--csv FILE]

COCO_ROOT is laid out as COCO's zips unpack. Photos count when people (crowds left out) cover at
least 5 % of them; pixels of crowds are ignored. The shipped network was trained on a part of
val2017: its own figure is on the photos of benchmarks/results/person_model_val.csv alone (the card
beside the network says so). The interval is a bootstrap over photos (10,000 draws, 95 %). Prints
the figures; --csv FILE keeps those of each photo.
"""
import argparse
import csv
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bg_remover.data_prep import prepare_pairs
from bg_remover.generator import Pairs
from bg_remover.metrics import bootstrap_interval, figures, summarize
from bg_remover.removal import Remover
from bg_remover.training import score_pairs

min_person_fraction = 0.05


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    "95 % interval of a share (Wilson, 1927, doi:10.1080/01621459.1927.10502953)."
    z, share = 1.96, hits / count
    middle = share + z**2 / (2 * count)
    half = z * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    return tuple((middle + side * half) / (1 + z**2 / count) for side in (-1, 1))


def measure(coco_root: Path, split: str, predict: Callable,
            threshold: float = 0.5) -> tuple[list[str], list[dict]]:
    "Names and scores of a split's photos with people, for any function from photo to probability."
    with tempfile.TemporaryDirectory() as work:
        folder = prepare_pairs(coco_root, split, Path(work) / "pairs", size=None)
        pairs = Pairs(folder / "frames", folder / "masks")
        return [path.stem for path in pairs.frame_paths], score_pairs(predict, pairs, threshold)


def report(scores: list[dict]) -> str:
    "The figures of a measurement, a line each."
    result = summarize(scores, min_person_fraction)
    ious = [one["iou"] for one in scores if one["person_fraction"] >= min_person_fraction]
    low, high = bootstrap_interval(np.array(ious))
    return "\n".join([
        f"photos with at least {min_person_fraction:.0%} person: {result['photos']} "
        f"(of {len(scores)} with people)",
        f"mean IoU per photo: {result['iou']:.3f} (95 % interval {low:.3f} to {high:.3f})",
        *(f"{figure.label}: {result[name]:.3f}" for name, figure in figures.items()
          if name != "iou")])


def write_scores(path: Path, names: list[str], scores: list[dict]):
    "A row for each photo."
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, ["photo", *scores[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(dict(photo=name) | {key: round(value, 4) for key, value in one.items()}
                         for name, one in zip(names, scores))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("coco_root", type=Path)
    parser.add_argument("model", type=Path, nargs="?",
                        help="an .onnx file from export_onnx; left out: the shipped one")
    parser.add_argument("--split", default="val")
    parser.add_argument("--threshold", type=float,
                        help="person from this probability on; left out: as the model's file says")
    parser.add_argument("--csv", type=Path, help="write the score of each photo here")
    options = parser.parse_args()
    remover = Remover(options.model)
    names, scores = measure(options.coco_root, options.split, remover.probability,
                            options.threshold or remover.threshold)
    print(report(scores))
    if options.csv: write_scores(options.csv, names, scores)


if __name__ == "__main__":
    main()
