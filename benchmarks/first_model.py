"""Train the network that ships with the package, and ship it.

    python benchmarks/first_model.py train DATA RUN_DIR      hours on two cores; called again it goes on
    python benchmarks/first_model.py ship DATA RUN_DIR       writes bg_remover/weights/ and the model's card

DATA holds pairs/ (frames, masks, index.csv with name, source, split), coco/ (COCO's own layout, for the closing
measurement) and weights/mobilenet_v2_imagenet_notop.h5. Three phases: the decoder alone on small photos, then with the
deeper part of the encoder, then on larger photos. The epoch is chosen by whole-set IoU on the `choose` split; COCO's val
photos only confirm. Tried and dropped: the whole encoder thawed at 5e-4 (five epochs on, IoU was still 0.07 lower).
"""
import argparse
import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import keras

from bg_remover import __version__
from bg_remover.generator import Pairs, augment_pair, batches
from bg_remover.model import build_unet, freeze_encoder
from bg_remover.training import export_onnx, read_history, save_half_weights, train

root = Path(__file__).resolve().parent.parent
net = dict(backbone="mobilenetv2", decoder_filters=(64, 48, 32, 24, 16))
batch_size, steps = 16, 50
phases = [ # folder, side of the square input, epochs, highest learning rate, share of the encoder's layers that stays frozen
    ("0-128", 128, 8, 2e-3, 1.0),
    ("1-160", 160, 12, 3e-4, 0.4),
    ("2-192", 192, 8, 2e-4, 0.4),
]


def split_names(data: Path, split: str) -> list[str]:
    "Names of the pairs of one split."
    with open(data / "pairs/index.csv", newline="") as file:
        return [row["name"] for row in csv.DictReader(file) if row["split"] == split]


def split_pairs(data: Path, split: str) -> Pairs:
    return Pairs(data / "pairs/frames", data / "pairs/masks", names=split_names(data, split))


def warm_cosine(rate: float, total: int) -> keras.optimizers.schedules.LearningRateSchedule:
    "Up to `rate` in the first twentieth of the steps, then down along a cosine."
    warm = total // 20
    return keras.optimizers.schedules.CosineDecay(0.0, total - warm, warmup_target=rate, warmup_steps=warm, alpha=0.02)


def train_all(data: Path, run_dir: Path):
    keras.utils.set_random_seed(0)
    weights = None
    for seed, (folder, side, epochs, rate, frozen) in enumerate(phases):
        model = build_unet(image_size=(side, side), encoder_weights=data / "weights/mobilenet_v2_imagenet_notop.h5", **net)
        freeze_encoder(model, frozen)
        if weights: model.load_weights(weights)
        train(model, batches(split_pairs(data, "train"), (side, side), batch_size, shuffle=True, augment=augment_pair, seed=seed, steps=steps),
              batches(split_pairs(data, "choose"), (side, side), batch_size), run_dir / folder, epochs,
              warm_cosine(rate, steps * epochs), weight_decay=1e-4)
        weights = run_dir / folder / "best.weights.h5"


def ship(data: Path, run_dir: Path):
    "Export the last phase's best epoch, keep the histories, and write the facts the card is made from."
    folder, side, *_ = phases[-1]
    model = build_unet(image_size=(side, side), encoder_weights=None, **net)
    model.load_weights(run_dir / folder / "best.weights.h5")
    histories = {name: read_history(run_dir / name / "history.csv") for name, *_ in phases}
    for name in histories: shutil.copyfile(run_dir / name / "history.csv", root / f"nbs/histories/first_model_{name}.csv")
    with open(data / "pairs/index.csv", newline="") as file:
        sources = Counter(row["source"] for row in csv.DictReader(file) if row["split"] == "train")
    card = dict(version=__version__, trained_on=dict(sorted(sources.items())), photo_passes=batch_size * steps * sum(map(len, histories.values())),
                chosen_by=f"whole-set IoU {max(row['val_iou'] for row in histories[folder]):.3f} on {len(split_names(data, 'choose'))} COCO photos at {side}×{side}",
                licences="weights Apache-2.0; COCO annotations CC BY 4.0; ImageNet encoder Apache-2.0; no training photo is redistributed")
    weights = root / "bg_remover/weights"
    export_onnx(model, weights / "person.onnx", half=True, **card)
    save_half_weights(model, weights / "person.weights.h5")
    (weights / "person.json").write_text(json.dumps(net | dict(image_size=(side, side)), indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "ship"))
    parser.add_argument("data", type=Path)
    parser.add_argument("run_dir", type=Path)
    options = parser.parse_args()
    (train_all if options.what == "train" else ship)(options.data, options.run_dir)
