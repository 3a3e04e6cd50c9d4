"""What are a few labelled photos worth? Fine-tune on 5, 10, 20 and 40 photos of a new camera, and
measure on others.

    python benchmarks/fine_tuning.py [PAIRS_DIR] [--photos 5 10 20 40] [--epochs 10] [--steps 16]
    [--side 384]

The new camera works in the dark: its photos are grey, dark and noisy (`new_camera`). PAIRS_DIR
holds frames/, masks/ and index.csv (name, split), and the photos of its split `choose` are taken:
the shipped network was not trained on them. Without PAIRS_DIR the samples are taken; the shipped
network has seen their train photos in their ordinary light, so the figures flatter. Each photo's
own checksum decides whether it is measured, so that all runs are measured on the same photos.

Writes into nbs/histories: fine_tuning.csv (a row per run: IoU on photos of the new camera and on
the same photos in ordinary light, each before and after, with the 95 % interval of the difference),
fine_tuning_photos.csv (each photo measured, for the run with the most photos) and
fine_tuning_history.csv (its epochs). Called again after an interruption, it goes on where it was.
"""
import argparse
import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from bg_remover.data_prep import prepare_pairs
from bg_remover.fine_tuning import compare_networks, fine_tune, hold_out
from bg_remover.generator import Pairs
from bg_remover.images import read_image, write_image
from bg_remover.removal import Remover
from bg_remover.training import score_pairs

root = Path(__file__).resolve().parent.parent


def new_camera(photo: np.ndarray, seed: int) -> np.ndarray: # uint8 H×W×3, both
    "What a camera that sees no colours makes of a photo at night: grey, dark and noisy."
    noise = np.random.default_rng(seed).normal(0, 12, photo.shape[:2])
    dark = 0.4 * photo.mean(axis=2) + noise
    return np.repeat(np.clip(dark, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def under_water(photo: np.ndarray, seed: int) -> np.ndarray: # uint8 H×W×3, both
    "What is left of a photo some metres under water: green and blue, flat and blurred."
    blurred = cv2.GaussianBlur(photo, (0, 0), max(photo.shape) / 250)
    return np.uint8(blurred * (0.15, 0.55, 0.6) + (10, 60, 70))


def as_it_is(photo: np.ndarray, seed: int) -> np.ndarray: return photo


cameras = {"night": new_camera, "water": under_water, "ordinary": as_it_is}


def night_name(path: Path) -> str:
    "A name whose checksum has not served before: that of the old name chose the split's photos."
    return f"night-{path.stem}"


def source_pairs(pairs_dir: Path | None, work: Path) -> Pairs:
    "Photos in ordinary light."
    if pairs_dir:
        with open(pairs_dir / "index.csv", newline="") as file:
            names = [row["name"] for row in csv.DictReader(file) if row["split"] == "choose"]
        return Pairs(pairs_dir / "frames", pairs_dir / "masks", names=sorted(names))
    for split in ("train", "val"):
        part = prepare_pairs(root / "nbs/samples/mini_coco", split, work / split, size=None)
        shutil.copytree(part, work / "samples", dirs_exist_ok=True)
    return Pairs(work / "samples/frames", work / "samples/masks")


def write_pairs(pairs: Pairs, names: list[str], dest: Path, camera: Callable) -> Pairs:
    "Some pairs in a folder of their own, as one of the cameras takes them."
    for folder in ("frames", "masks"): (dest / folder).mkdir(parents=True, exist_ok=True)
    for number, (frame, mask) in enumerate(zip(pairs.frame_paths, pairs.mask_paths)):
        name = night_name(mask)
        if name not in names: continue
        photo = read_image(frame)
        write_image(dest / f"frames/{name}.png", camera(photo, number))
        shutil.copyfile(mask, dest / f"masks/{name}.png")
    return Pairs(dest / "frames", dest / "masks", names=names)


def write_rows(path: Path, rows: list[dict]):
    "Rows as a csv file; floats to four places."
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: round(value, 4) if isinstance(value, float) else value
                             for name, value in row.items()})


def photo_rows(tuned: Remover, measured: dict[str, Pairs]) -> list[dict]:
    "Each photo measured: IoU in both lights, before and after."
    networks = {"before": Remover(), "after": tuned}
    rows = [dict(photo=path.stem) for path in measured["new"].frame_paths]
    for light, pairs in measured.items():
        for when, network in networks.items():
            for row, one in zip(rows, score_pairs(network.probability, pairs, network.threshold)):
                row[f"{light}_{when}"] = one["iou"]
    return rows


def tune(options: argparse.Namespace, folder: Path, run: Path, ordinary: Pairs) -> dict: # a row
    "Fine-tune on the pairs of a folder, and compare with the shipped network in both lights."
    new = fine_tune(folder, run, image_size=(options.side, options.side), epochs=options.epochs,
                    steps=options.steps, batch_size=options.batch_size,
                    learning_rate=options.learning_rate, holdout_fraction=options.hold_out)
    old = compare_networks(Remover(), Remover(run / "model.onnx"), ordinary)
    kept = ("before", "after", "difference", "low", "high")
    samples_seen = options.epochs * options.steps * options.batch_size
    return (dict(measured_on=new["photos"], samples_seen=samples_seen, side=options.side)
            | {f"new_{name}": new[name] for name in kept}
            | {f"ordinary_{name}": old[name] for name in kept})


def read_arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs_dir", type=Path, nargs="?")
    parser.add_argument("--photos", type=int, nargs="+", default=[5, 10, 20, 40],
                        help="to train on, a run for each")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--side", type=int, default=384, help="of what the network sees, pixels")
    parser.add_argument("--hold-out", type=float, default=0.6,
                        help="share of the photos to measure on")
    parser.add_argument("--work", type=Path, default=root / "nbs/_work/fine_tuning_runs")
    parser.add_argument("--results", type=Path, default=root / "nbs/histories")
    return parser, parser.parse_args()


def main():
    parser, options = read_arguments()
    pairs = source_pairs(options.pairs_dir, options.work)
    learn, held_out = hold_out([night_name(path) for path in pairs.mask_paths], options.hold_out)
    if max(options.photos) > len(learn):
        parser.error(f"--photos {max(options.photos)}: only {len(learn)} are there to train on")
    measured = {light: write_pairs(pairs, held_out, options.work / light, camera)
                for light, camera in (("new", new_camera), ("ordinary", as_it_is))}
    rows = []
    for count in sorted(options.photos):
        folder, run = options.work / f"{count}", options.work / f"run-{count}"
        write_pairs(pairs, learn[:count] + held_out, folder, new_camera)
        rows.append(dict(trained_on=count) | tune(options, folder, run, measured["ordinary"]))
        print({name: round(value, 3) if isinstance(value, float) else value
               for name, value in rows[-1].items()}, flush=True)
        write_rows(options.results / "fine_tuning.csv", rows)
        shutil.copyfile(run / "history.csv", options.results / "fine_tuning_history.csv")
        write_rows(options.results / "fine_tuning_photos.csv",
                   photo_rows(Remover(run / "model.onnx"), measured))


if __name__ == "__main__": main()
