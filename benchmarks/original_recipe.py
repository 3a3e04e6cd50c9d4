"""Train a network the way the original tutorial did, with its faults, to have something to compare
with.

    python benchmarks/original_recipe.py DATA IMAGENET_ENCODER.h5 WORK_DIR ORIGINAL.onnx
        [--epochs N]

The backbone, the photos, the batch and the number of steps are those of person_model.py. All else
is the original's: everything squeezed to 256 × 256 beforehand, masks kept as JPEG with the values 0
and 1, BGR pixels fed to an encoder that ImageNet taught in RGB and in another range, the decoder as
it comes, everything trained at once by Adam at 1e-4, no augmentation, validation photos in a new
order each time, and the epoch chosen by their loss. One fault is not repeated: overlapping people
are not added up, because DATA holds their union. Called again after an interruption it goes on.
`quality.py --original ORIGINAL.onnx` measures the result; results/original_recipe.csv, which this
script writes, is the history of the run measured there. It was stopped after 48 of 176 epochs: the
best had been the 29th, and 19 more, the last nine of them at a tenth of the rate, brought none
better.
"""
import argparse
import sys
from pathlib import Path

import cv2
import keras
import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "recipes"))
from person_model import batch_size, net, phases, split_rows

from bg_remover.base.backbones import load_encoder, segmentation_models
from bg_remover.training import bce_jaccard_loss
from bg_remover.base.export import export_onnx
from bg_remover.base.runs import read_history, write_history

steps = 50 # in an epoch


def through_jpeg(mask: np.ndarray) -> np.ndarray:
    "A mask of zeros and ones after it was kept as a JPEG file."
    return cv2.imdecode(cv2.imencode(".jpg", mask)[1], cv2.IMREAD_GRAYSCALE)


def load_split(data: Path, split: str, side: int) -> tuple[np.ndarray, np.ndarray]:
    "Frames (uint8 BGR) and masks (uint8) of a split, as the original's folders held them."
    frames, masks = [], []
    for row in split_rows(data, split):
        frame = cv2.imread(str(data / f"pairs/frames/{row['name']}.jpg"))
        frames.append(cv2.resize(frame, (side, side)))
        mask = cv2.imread(str(data / f"pairs/masks/{row['name']}.png"), cv2.IMREAD_GRAYSCALE)
        mask = cv2.resize(mask, (side, side))
        masks.append(through_jpeg(np.uint8(mask >= 128))[..., None])
    return np.stack(frames), np.stack(masks)


class Shuffled(keras.utils.PyDataset):
    "Batches in a new order each epoch, in training and in validation alike."
    def __init__(self, frames: np.ndarray, masks: np.ndarray, count: int, seed: int):
        super().__init__()
        self.frames, self.masks, self.count = frames, masks, count
        self.rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def on_epoch_end(self):
        self.order = np.resize(self.rng.permutation(len(self.frames)), self.count * batch_size)
    def __len__(self): return self.count

    def __getitem__(self, index: int):
        chosen = self.order[index * batch_size:(index + 1) * batch_size]
        return np.float32(self.frames[chosen]), np.float32(self.masks[chosen])


def answer_rgb(unet: keras.Model) -> keras.Model:
    "A network that learnt from BGR pixels, for RGB ones."
    image = keras.Input(unet.input_shape[1:], name="image")
    uncompiled = keras.Model(unet.inputs, unet.outputs) # a copy for export would look for the loss
    return keras.Model(image, uncompiled(keras.ops.flip(image, axis=-1)))


def fit(unet: keras.Model, data: Path, work_dir: Path, best: Path, epochs: int,
        lowest: float | None):
    "Train, or go on; `lowest` is the validation loss of the best epoch before an interruption."
    side = unet.input_shape[1]
    frames, masks = load_split(data, "choose", side)
    held_out = Shuffled(frames, masks, len(frames) // batch_size, seed=1)
    pairs = Shuffled(*load_split(data, "train", side), steps, seed=0)
    callbacks = [
        keras.callbacks.ModelCheckpoint(best, monitor="val_loss", save_best_only=True,
                                        save_weights_only=True, initial_value_threshold=lowest),
        keras.callbacks.ReduceLROnPlateau(),
        keras.callbacks.CSVLogger(work_dir / "history.csv", append=True),
        keras.callbacks.BackupAndRestore(work_dir / "backup")]
    unet.fit(pairs, validation_data=held_out, epochs=epochs, verbose=2, callbacks=callbacks)


# RGB pixels 0–255 in, as all others
def train_original(data: Path, encoder: Path, work_dir: Path, epochs: int,
                   side: int = 256) -> keras.Model:
    "The original's training; the weights of the epoch with the lowest validation loss."
    keras.utils.set_random_seed(0)
    work_dir.mkdir(parents=True, exist_ok=True)
    unet = segmentation_models().Unet(net["backbone"], (side, side, 3), encoder_weights=None)
    # as in `build_unet`: for training in mixed precision
    unet.get_layer("sigmoid").dtype_policy = keras.DTypePolicy("float32")
    load_encoder(unet, encoder)
    unet.compile(keras.optimizers.Adam(1e-4), loss=bce_jaccard_loss)
    best, done = work_dir / "best.weights.h5", read_history(work_dir / "history.csv")
    if len(done) < epochs:
        fit(unet, data, work_dir, best, epochs,
            min((row["val_loss"] for row in done), default=None))
    unet.load_weights(best)
    return answer_rgb(unet)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "encoder", "work_dir", "onnx"): parser.add_argument(name, type=Path)
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"),
                        help="in which training multiplies; weights stay float32")
    parser.add_argument("--epochs", type=int,
                        default=sum(phase.steps * phase.epochs for phase in phases) // steps)
    options = parser.parse_args()
    keras.mixed_precision.set_global_policy(options.precision)
    model = train_original(options.data, options.encoder, options.work_dir, options.epochs)
    export_onnx(model, options.onnx, steps=steps * options.epochs, recipe="the original tutorial's")
    write_history(Path(__file__).parent / "results/original_recipe.csv",
                  read_history(options.work_dir / "history.csv"))
