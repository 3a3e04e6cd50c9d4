"""Learning rate, frozen part, steps, general photos and share of the new weights for `fine_tune`.

    python benchmarks/fine_tuning_defaults.py PAIRS_DIR [--camera night] [--only NAME ...]

Twenty photos of a new camera teach the shipped network, twice for each setting unless --only leaves
some out, with other photos each time; benchmarks/fine_tuning.py has the cameras and the split. Each
setting differs from the defaults in one thing. Each result is measured on the photos held out, as
the new camera and as the old one took them (what was forgotten), at several shares of the new
weights: 1 is what training ends with, 0.5 the mean of old and new (Wortsman et al., 2022,
arXiv:2109.01903). PAIRS_DIR has frames/, masks/ and index.csv, as recipes/person_network.py takes
them; its split `choose` is new to the shipped network, and a hundred photos of `train` serve as
general ones. The network sees 256 × 256 and learns in bfloat16, which is quicker. Answers are not
refined. Writes results/fine_tuning_defaults_CAMERA.csv; called again, it goes on.
"""
import argparse
import csv
import shutil
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from fine_tuning import cameras, night_name, source_pairs, write_pairs, write_rows

from bg_remover.base.runs import run_note
from bg_remover.fine_tuning import fit_few, hold_out, part_of_the_way
from bg_remover.generator import Pairs
from bg_remover.images import read_image, read_mask, resize_image, resize_probability
from bg_remover.metrics import score
from bg_remover.model import freeze_encoder, pretrained_unet
from bg_remover.removal import hysteresis_threshold

root = Path(__file__).resolve().parent.parent
side, photos, general_photos, shares = 256, 20, 100, (1.0, 0.75, 0.5, 0.25)


class Setting(NamedTuple):
    "What `fine_tune` does, and what each setting changes in it."
    rate: float = 5e-4
    frozen: float = 0.5  # share of the encoder's layers, from the photo on
    steps: int = 128
    mixed: bool = False  # general photos as often as new ones


settings = {
    "the defaults": Setting(), "rate 0.0002": Setting(rate=2e-4), "rate 0.001": Setting(rate=1e-3),
    "nothing frozen": Setting(frozen=0), "encoder frozen": Setting(frozen=1),
    "64 steps": Setting(steps=64), "256 steps": Setting(steps=256),
    "general photos mixed in": Setting(mixed=True),
}


def general(pairs_dir: Path) -> Pairs:
    "COCO photos that the shipped network was trained on."
    with open(pairs_dir / "index.csv", newline="") as file: rows = list(csv.DictReader(file))
    names = [row["name"] for row in rows
             if row["split"] == "train" and row["source"].startswith("coco")]
    return Pairs(pairs_dir / "frames", pairs_dir / "masks", names=sorted(names)[:general_photos])


def mix(new: Pairs, old: Pairs, dest: Path) -> Pairs:
    "Both in one folder; the new ones as often as the old ones."
    for folder in ("frames", "masks"): (dest / folder).mkdir(parents=True, exist_ok=True)
    for pairs, times in ((new, round(len(old) / len(new))), (old, 1)):
        for frame, mask in zip(pairs.frame_paths, pairs.mask_paths):
            for copy in range(times):
                for path, folder in ((frame, "frames"), (mask, "masks")):
                    shutil.copyfile(path, dest / folder / f"{mask.stem}-{copy}{path.suffix}")
    return Pairs(dest / "frames", dest / "masks")


def mean_iou(model: keras.Model, pairs: Pairs) -> float:
    "Mean IoU at the photos' own size, with the U-Net's limits."
    ious, limits = [], run_note(root / "bg_remover/weights", "start.json")
    for frame, mask in zip(pairs.frame_paths, map(read_mask, pairs.mask_paths)):
        small = np.float32(resize_image(read_image(frame), model.input_shape[1:3]))[None]
        answer = hysteresis_threshold(model.predict_on_batch(small)[0, ..., 0],
                                      limits["min_peak_probability"])
        ious.append(score(resize_probability(answer, mask.shape), mask,
                          limits["threshold"])["iou"])
    return float(np.mean(ious))


def tune(setting: Setting, learn: Pairs, held_out: Pairs, run: Path) -> keras.Model:
    "The shipped network, trained further."
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    model = freeze_encoder(pretrained_unet(image_size=(side, side)), setting.frozen)
    epochs = setting.steps // 32
    fit_few(model, dict(trained=learn, held_out=held_out), run, epochs, 32, 8, setting.rate)
    return model


def rows_of(name: str, turn: int, pairs: dict[str, Pairs], few: Pairs, work: Path) -> list[dict]:
    "One setting, trained once, measured at each share of the new weights."
    setting = settings[name]
    learn = pairs["learn"]
    if setting.mixed: learn = mix(learn, pairs["general"], work / "mixed")
    old = pretrained_unet(image_size=(side, side)).get_weights()
    model, rows = tune(setting, learn, few, work / "run"), []
    new = model.get_weights()
    for share in shares:
        model.set_weights(part_of_the_way(old, new, share))
        rows.append(dict(setting=name, turn=turn, share=share) |
                    {light: mean_iou(model, pairs[light]) for light in ("new", "ordinary")})
    return rows


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs_dir", type=Path)
    parser.add_argument("--camera", choices=cameras, default="night")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(settings),
                        choices=settings)
    parser.add_argument("--work", type=Path, default=root / "nbs/_work/fine_tuning_defaults")
    parser.add_argument("--results", type=Path, default=root / "benchmarks/results")
    return parser.parse_args()


def main():
    options = parse()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    source, work = source_pairs(options.pairs_dir, options.work), options.work / options.camera
    learn, held_out = hold_out([night_name(path) for path in source.mask_paths], 0.6)
    pairs = {light: write_pairs(source, held_out, work / light, cameras[light_camera])
             for light, light_camera in (("new", options.camera), ("ordinary", "ordinary"))}
    few = Pairs(work / "new/frames", work / "new/masks", names=held_out[:8])  # fit_few wants some
    path = options.results / f"fine_tuning_defaults_{options.camera}.csv"
    rows = list(csv.DictReader(open(path, newline=""))) if path.exists() else []
    if not rows:
        model = pretrained_unet(image_size=(side, side))
        rows = [dict(setting="as shipped", turn="", share=0.0) |
                {light: mean_iou(model, pairs[light]) for light in ("new", "ordinary")}]
    for turn in (0, 1):
        folder = work / f"learn-{turn}"
        some = write_pairs(source, learn[turn * photos:][:photos], folder, cameras[options.camera])
        every = pairs | dict(learn=some, general=general(options.pairs_dir))
        for name in options.only:
            done = any(row["setting"] == name and int(row["turn"]) == turn for row in rows[1:])
            if done: continue
            rows += rows_of(name, turn, every, few, work)
            write_rows(path, rows)
            print(rows[-len(shares):], flush=True)


if __name__ == "__main__": main()
