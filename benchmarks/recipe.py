"""What does each ingredient of the recipe bring? Leave one out at a time, same steps, two seeds.

    python benchmarks/recipe.py run DATA DEEPLAB_ENCODER.h5 IMAGENET_ENCODER.h5 WORK_DIR
        [--precision mixed_bfloat16]
    python benchmarks/recipe.py table

`run` trains and measures, then writes the table, benchmarks/results/recipe.csv; called again, it
goes on. `table` only writes the table. Every run is the shipped recipe in small: the decoder alone,
then the encoder with it, on windows of 128 × 128. It is measured on the 120 photos of the split
`choose`, at 192 × 192 in and the photo's own size out, threshold 0.5; and on the 120 of the split
`alarm`, which hold no people: an alarm is a photo of which at least 1 % is called a person.
benchmarks/results/recipe_photos.csv keeps the figures of each photo; the table shows what is lost
without an ingredient (or gained with an addition), as the mean over photos of the difference to the
whole recipe of the same seed, with a paired bootstrap interval over photos (the two seeds of a
photo are averaged first), and the difference of each seed by itself: other photos are one kind of
chance, another seed is another. An ingredient has earned its place when the interval excludes 0 and
both seeds say the same. In runs as short as these, what guards against learning by heart has little
to guard against.
"""
import argparse
import csv
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "recipes"))
import claims
from original_recipe import train_original
from person_model import net, split_pairs, split_rows, street
from quality import alarm_share, write_table

from bg_remover.generator import augment_pair, batches, light_steps, view_steps
from bg_remover.images import read_image, read_mask, resize_image, resize_probability
from bg_remover.metrics import bootstrap_interval, score
from bg_remover.model import build_unet, freeze_encoder
from bg_remover.training import bce_jaccard_loss, photo_jaccard_loss, train
from bg_remover.base.optimizers import warm_cosine

results, summary = (Path(__file__).parent / f"results/{name}.csv"
                    for name in ("recipe_photos", "recipe"))
side, used_at, batch_size, steps = 128, 192, 16, 50
epochs = dict(decoder=2, encoder=3)
rates = dict(decoder=2e-3, encoder=1e-3)


def view_only(frame, mask, image_size, rng):
    return augment_pair(frame, mask, image_size, rng, view_steps)


def colour_only(frame, mask, image_size, rng):
    return augment_pair(frame, mask, image_size, rng, light_steps)


def constant(highest, steps): return highest / 2 # about the mean of the schedule


whole = dict(encoder="deeplab", filters=net["decoder_filters"], augment=augment_pair, paste=0.2,
             schedule=warm_cosine, weight_decay=1e-4, encoder_lr_scale=0.1, frozen=0.1,
             loss=photo_jaccard_loss, often=street | {"background": 2})
variants = {
    "the whole recipe": {},
    "encoder from ImageNet alone": dict(encoder="imagenet"),
    "loss pooled over the batch": dict(loss=bce_jaccard_loss),
    "photos without people once": dict(often=street),
    "no flip, scale, crop, turn": dict(augment=colour_only),
    "no colour, grey, blur": dict(augment=view_only),
    "no pasted people": dict(paste=0.0),
    "constant learning rate": dict(schedule=constant),
    "no weight decay": dict(weight_decay=0.0),
    "encoder at the full rate": dict(encoder_lr_scale=1.0),
    "encoder frozen to the end": dict(frozen=1.0),
    "decoder twice as wide": dict(filters=tuple(2 * filters for filters in net["decoder_filters"])),
}
original = "the original tutorial's recipe" # from the same encoder, as many steps


def trained(data: Path, encoders: dict[str, Path], settings: dict, seed: int,
            run_dir: Path) -> keras.Model:
    "One run of the small recipe; the network, ready for the size it is used at."
    keras.utils.set_random_seed(seed)
    weights = None
    for number, phase in enumerate(("decoder", "encoder")):
        model = build_unet(net["backbone"], (side, side), encoders[settings["encoder"]],
                           settings["filters"])
        freeze_encoder(model, 1.0 if phase == "decoder" else settings["frozen"])
        if weights: model.load_weights(weights)
        pairs = batches(split_pairs(data, "train", settings["often"]), (side, side), batch_size,
                        True, settings["augment"], settings["paste"], seed=10 * seed + number,
                        steps=steps)
        rate = settings["schedule"](rates[phase], steps * epochs[phase])
        held_out = batches(split_pairs(data, "choose")[:8], (side, side))
        train(model, pairs, held_out, run_dir / phase, epochs[phase], rate,
              settings["weight_decay"], settings["encoder_lr_scale"], settings["loss"], verbose=0)
        # not the best: all runs take the same number of steps
        weights = run_dir / phase / f"last-{epochs[phase]}.weights.h5"
    model = build_unet(net["backbone"], (used_at, used_at), None, settings["filters"])
    model.load_weights(weights)
    return model


def answers(model: keras.Model, names: list[str], data: Path) -> list[np.ndarray]:
    "Its probabilities at the photos' own size."
    frames = [read_image(data / f"pairs/frames/{name}.jpg") for name in names]
    small = np.float32([resize_image(frame, model.input_shape[1:3]) for frame in frames])
    found = model.predict(small, batch_size=batch_size, verbose=0)[..., 0]
    return [resize_probability(one, frame.shape[:2]) for one, frame in zip(found, frames)]


def both_ways(model: keras.Model) -> keras.Model:
    "The mean of two answers: to the photo, and to its mirror image, mirrored back."
    image = keras.Input(model.input_shape[1:])
    mirrored = keras.ops.flip(model(keras.ops.flip(image, axis=2)), axis=2)
    return keras.Model(image, (model(image) + mirrored) / 2)


def figures(model: keras.Model, data: Path) -> list[dict]:
    "IoU of each photo with people, and whether each photo without raises an alarm."
    people, empty = ([row["name"] for row in split_rows(data, split)]
                     for split in ("choose", "alarm"))
    ious = [score(one, read_mask(data / f"pairs/masks/{name}.png"))["iou"]
            for name, one in zip(people, answers(model, people, data))]
    alarms = [int((one >= 0.5).mean() >= alarm_share) for one in answers(model, empty, data)]
    return [*(dict(photo=name, iou=f"{iou:.4f}", alarm="") for name, iou in zip(people, ious)),
            *(dict(photo=name, iou="", alarm=alarm) for name, alarm in zip(empty, alarms))]


def read_results() -> list[dict]:
    "The photos of the runs that were measured."
    if not results.exists(): return []
    with open(results, newline="") as file: return list(csv.DictReader(file))


def keep(rows: list[dict]):
    "Add the photos of one run to the csv, whole or not at all."
    part = results.with_suffix(".part")
    claims.write_table(part, read_results() + rows)
    part.replace(results)


def run(data: Path, encoders: dict[str, Path], work_dir: Path):
    "Train and measure every variant with both seeds, as far as the csv lacks them."
    def once(variant: str, seed: int, make: Callable[[], keras.Model]) -> keras.Model | None:
        "Make and measure a network, unless the csv has it."
        if (variant, str(seed)) in {(row["variant"], row["seed"]) for row in read_results()}:
            return None
        model = make()
        keep([dict(variant=variant, seed=seed) | row for row in figures(model, data)])
        print(f"{variant}, seed {seed}: done", flush=True)
        return model
    for seed in (0, 1):
        for name, change in variants.items():
            model = once(name, seed, lambda: trained(data, encoders, whole | change, seed,
                                                     work_dir / f"{name}-{seed}"))
            if not change and model:
                once("and its mirror image asked too", seed, lambda: both_ways(model))
        once(original, seed,
             lambda: train_original(data, encoders["deeplab"], work_dir / f"original-{seed}",
                                    sum(epochs.values()), side, seed))


def values(rows: list[dict], variant: str, column: str) -> dict[str, list[float]]:
    "A column of one variant by seed, in the order of the photos."
    found = {}
    for row in rows:
        if row["variant"] == variant and row[column]:
            found.setdefault(row["seed"], []).append(float(row[column]))
    return found


def table() -> list[dict]:
    """For each variant its mean IoU, the difference to the whole recipe with its interval over
    photos and its ends over seeds, and the share of alarms."""
    rows, lines = read_results(), []
    base = values(rows, "the whole recipe", "iou")
    for variant in dict.fromkeys(row["variant"] for row in rows):
        seeds, alarms = values(rows, variant, "iou"), values(rows, variant, "alarm")
        changes = [np.subtract(seeds[seed], base[seed]) for seed in seeds]
        low, high = bootstrap_interval(np.mean(changes, axis=0))
        lines.append(dict(variant=variant, iou=np.mean(list(seeds.values())),
                          change=np.mean(changes), low=low, high=high,
                          least=min(map(np.mean, changes)), most=max(map(np.mean, changes)),
                          alarms=np.mean(list(alarms.values())), seeds=len(seeds)))
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="what")
    running = commands.add_parser("run")
    for name in ("data", "deeplab", "imagenet", "work_dir"): running.add_argument(name, type=Path)
    running.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"))
    commands.add_parser("table")
    options = parser.parse_args()
    if options.what == "run":
        keras.mixed_precision.set_global_policy(options.precision)
        run(options.data, dict(deeplab=options.deeplab, imagenet=options.imagenet),
            options.work_dir)
    lines = table()
    write_table(summary, lines)
    for line in lines:
        print("{variant:32} IoU {iou:.3f}   {change:+.3f} ({low:+.3f} to {high:+.3f})   seeds "
              "{least:+.3f} to {most:+.3f}   alarms {alarms:4.0%}   runs: {seeds}".format(**line))
