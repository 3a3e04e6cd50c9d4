"""Train one small network twice, without and with augmentation, and keep both histories for
lesson 08.

    python recipes/augmentation_runs.py PAIRS_DIR ENCODER.h5 [HISTORIES_DIR]

PAIRS_DIR holds frames/, masks/ and index.csv (name, source, foreground, split). The network learns
from few COCO photos, so that it can learn them by heart; it is validated on the COCO photos of the
split `choose`. All but `augment` is equal: the seed, the first weights, the number of steps. Writes
without_augmentation.csv and with_augmentation.csv into HISTORIES_DIR, nbs/histories unless given.
Run again after an interruption, it goes on where it was.
"""
import csv
import shutil
import tempfile
from pathlib import Path

import keras

from arguments import recipe_parser

from bg_remover.generator import Pairs, augment_pair, batches
from bg_remover.model import build_unet, freeze_encoder
from bg_remover.training import train


def coco_pairs(pairs_dir: Path, split: str, count: int | None = None) -> Pairs:
    "The first `count` COCO pairs of a split, in the order of their names."
    with open(pairs_dir / "index.csv", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file) if row["split"] == split
                 and row["source"].startswith("coco")]
    return Pairs(pairs_dir / "frames", pairs_dir / "masks", names=sorted(names)[:count])


def small_unet(encoder: Path, image_size: tuple[int, int]) -> keras.Model:
    "The slim U-Net, encoder and decoder free to learn."
    keras.utils.set_random_seed(0)
    model = freeze_encoder(build_unet("mobilenetv2", image_size, encoder, (64, 48, 32, 24, 16)),
                           fraction=0)
    for layer in model.get_layer("unet").layers:
        # With few steps in an epoch, moving averages at Keras' 0.99 would lag behind the weights
        # for many epochs.
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            layer.momentum = 0.9
    return model


def main():
    parser = recipe_parser(__doc__, "pairs_dir", "encoder")
    parser.add_argument("histories_dir", type=Path, nargs="?", default=Path("nbs/histories"))
    parser.add_argument("--photos", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=22)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--work-dir", type=Path,
                        default=Path(tempfile.gettempdir()) / "augmentation_runs")
    options = parser.parse_args()
    image_size = (options.side, options.side)
    options.histories_dir.mkdir(parents=True, exist_ok=True)
    val_batches = batches(coco_pairs(options.pairs_dir, "choose"), image_size, 40)
    few = coco_pairs(options.pairs_dir, "train", options.photos)
    for name, augment in (("without_augmentation", None), ("with_augmentation", augment_pair)):
        train_batches = batches(few, image_size, 16, shuffle=True, augment=augment)
        run = options.work_dir / name
        train(small_unet(options.encoder, image_size), train_batches, val_batches, run,
              options.epochs, 5e-4)
        shutil.copyfile(run / "history.csv", options.histories_dir / f"{name}.csv")


if __name__ == "__main__": main()
