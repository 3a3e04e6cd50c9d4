"""What does each ingredient of the recipe bring? Leave one out at a time, same steps, two seeds.

    python benchmarks/recipe.py run DATA DEEPLAB_ENCODER.h5 IMAGENET_ENCODER.h5 WORK_DIR   called again it goes on
    python benchmarks/recipe.py table                                                      prints the table

Every run is the shipped recipe in small: the decoder alone, then the encoder with it, on windows of 160 × 160. It is measured
on the 120 photos of the split `choose`, at 256 × 256 in and the photo's own size out. benchmarks/recipe.csv keeps the IoU
of each photo; the table shows what is lost without an ingredient (or gained with an addition), as the mean over photos of the
difference to the whole recipe of the same seed, with a paired bootstrap interval over photos (the two seeds of a photo are
averaged first). An ingredient has earned its place when the interval excludes 0.
"""
import argparse
import csv
import functools
from pathlib import Path

import keras
import numpy as np

from person_model import net, split_pairs

from bg_remover.generator import Pairs, augment_pair, batches, random_colour, random_view
from bg_remover.images import resize_image, resize_mask
from bg_remover.metrics import bootstrap_interval
from bg_remover.model import build_unet, freeze_encoder, predict_probability
from bg_remover.training import score_pairs, train, warm_cosine

results = Path(__file__).with_suffix(".csv")
side, used_at, batch_size, steps = 160, (256, 256), 16, 50
epochs = dict(decoder=3, encoder=5)
rates = dict(decoder=2e-3, encoder=1e-3)


def view_only(frame, mask, image_size, rng): return random_view(frame, mask, image_size, rng)
def colour_only(frame, mask, image_size, rng): return random_colour(resize_image(frame, image_size), rng), resize_mask(mask, image_size)[..., None]
def constant(highest, steps): return highest / 2 # about the mean of the schedule


whole = dict(encoder="deeplab", augment=augment_pair, paste=0.2, schedule=warm_cosine, weight_decay=1e-4, encoder_share=0.1, frozen=0.1)
variants = {
    "the whole recipe": {},
    "encoder from ImageNet alone": dict(encoder="imagenet"),
    "no flip, scale, crop, turn": dict(augment=colour_only),
    "no colour, grey, blur": dict(augment=view_only),
    "no pasted people": dict(paste=0.0),
    "constant learning rate": dict(schedule=constant),
    "no weight decay": dict(weight_decay=0.0),
    "encoder at the full rate": dict(encoder_share=1.0),
    "encoder frozen to the end": dict(frozen=1.0),
}


def trained(data: Path, encoders: dict[str, Path], settings: dict, seed: int, run_dir: Path) -> keras.Model:
    "One run of the small recipe; the network, ready for the size it is used at."
    keras.utils.set_random_seed(seed)
    weights = None
    for number, phase in enumerate(("decoder", "encoder")):
        model = build_unet(image_size=(side, side), encoder_weights=encoders[settings["encoder"]], **net)
        freeze_encoder(model, 1.0 if phase == "decoder" else settings["frozen"])
        if weights: model.load_weights(weights)
        pairs = batches(split_pairs(data, "train"), (side, side), batch_size, True, settings["augment"], settings["paste"], seed=10 * seed + number, steps=steps)
        rate = settings["schedule"](rates[phase], steps * epochs[phase])
        train(model, pairs, batches(split_pairs(data, "choose")[:8], (side, side)), run_dir / phase, epochs[phase], rate, settings["weight_decay"], settings["encoder_share"])
        weights = run_dir / phase / f"last-{epochs[phase]}.weights.h5" # not the best: all runs take the same number of steps
    model = build_unet(image_size=used_at, encoder_weights=None, **net)
    model.load_weights(weights)
    return model


def read_results() -> list[dict]:
    if not results.exists(): return []
    with open(results, newline="") as file: return list(csv.DictReader(file))


def keep(rows: list[dict]):
    "Add the photos of one run to the csv, whole or not at all."
    rows, part = read_results() + rows, results.with_suffix(".part")
    with open(part, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(results)


def ious(predict, pairs: Pairs) -> list[str]: return [f"{one['iou']:.4f}" for one in score_pairs(predict, pairs)]


def mirrored(model: keras.Model, frame: np.ndarray) -> np.ndarray:
    "The mean of two answers: to the photo, and to its mirror image, mirrored back."
    return (predict_probability(model, frame) + predict_probability(model, np.ascontiguousarray(frame[:, ::-1]))[:, ::-1]) / 2


def run(data: Path, encoders: dict[str, Path], work_dir: Path):
    done, pairs = {(row["variant"], row["seed"]) for row in read_results()}, split_pairs(data, "choose")
    for seed in (0, 1):
        for name, change in variants.items():
            if (name, str(seed)) in done: continue
            model = trained(data, encoders, whole | change, seed, work_dir / f"{name}-{seed}")
            answers = {name: functools.partial(predict_probability, model)}
            if name == "the whole recipe": answers["and its mirror image asked too"] = functools.partial(mirrored, model)
            for variant, predict in answers.items():
                keep([dict(variant=variant, seed=seed, photo=path.stem, iou=iou) for path, iou in zip(pairs.frame_paths, ious(predict, pairs))])
            print(f"{name}, seed {seed}: done", flush=True)


def table():
    values = {}
    for row in read_results(): values.setdefault(row["variant"], {}).setdefault(row["seed"], []).append(float(row["iou"]))
    base = values["the whole recipe"]
    for name, seeds in values.items():
        both = sorted(seeds.keys() & base.keys())
        change = np.mean([np.subtract(seeds[seed], base[seed]) for seed in both], axis=0)
        low, high = bootstrap_interval(change)
        print(f"{name:32} IoU {np.mean([seeds[seed] for seed in both]):.3f}   {change.mean():+.3f} ({low:+.3f} to {high:+.3f})   seeds: {len(both)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="what")
    running = commands.add_parser("run")
    for name in ("data", "deeplab", "imagenet", "work_dir"): running.add_argument(name, type=Path)
    commands.add_parser("table")
    options = parser.parse_args()
    if options.what == "run": run(options.data, dict(deeplab=options.deeplab, imagenet=options.imagenet), options.work_dir)
    else: table()
