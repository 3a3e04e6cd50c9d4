"""Can the U-Net learn what several networks agree on? Train it on photos labelled by their mean.

    python recipes/distill.py label DATA OUT SECOND.onnx DEEPLAB.tflite FOLDER
    python recipes/distill.py train DATA OUT RUN FOLDER [--precision mixed_bfloat16]

The teachers are the shipped U-Net, the network on MoveNet (SECOND.onnx, of person_network.py) and
DeepLab (the file of deeplab_encoder.py), each asked about a photo and its mirror image. `label`
writes OUT/masks: for COCO and PASCAL VOC, half of the label is the mask, half the teachers' mean;
where there is no mask (FOLDER of pseudo_masks.py), what the networks were sure of takes its place.
`train`, called again, goes on; it starts from the shipped weights, and the loss is the Jaccard
metric loss, which is smallest where answer and soft label are the same (Wang et al., 2023,
arXiv:2302.05666). RUN gets what more_photos.py writes. The answer was no:
benchmarks/results/more_photos.csv holds its history.
"""
import argparse
import csv
import warnings
import zlib
from pathlib import Path

import cv2
import keras
import numpy as np
from keras import ops

from arguments import add_precision
from more_photos import encoder_share, used_at
from person_network import Keep, Phase, epoch_steps, fit, turns
from person_photos import MaskedPhotos

from bg_remover.base.backbones import encoder_layers
from bg_remover.base.files import write_bytes
from bg_remover.base.optimizers import EncoderRate, warm_cosine
from bg_remover.base.runs import read_history
from bg_remover.images import read_image, read_mask, resize_image, resize_probability
from bg_remover.model import freeze_encoder, pretrained_unet
from bg_remover.removal import Network

phase = Phase("distilled", 320, 18, 3e-4, None)
often = turns | {"background": 3, "voc-background": 3}
shares, shift = (0.45, 0.3, 0.25), 0.4  # U-Net, MoveNet, DeepLab; from 0.4 on is a person, as logit
soft_levels = 249  # a label: 0 nobody, 1 a person, 2 neither way, 3 to 252 in between


class DeepLab:
    "The probability of a person, of its 21 classes, on the coarse grid of its logits."
    logits, person = "logits/semantic/BiasAdd", 15

    def __init__(self, path: Path):
        import tensorflow as tf
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the interpreter will move to a package of its own
            self.tflite = tf.lite.Interpreter(str(path), experimental_preserve_all_tensors=True)
        self.tflite.allocate_tensors()
        found, = (tensor for tensor in self.tflite.get_tensor_details()
                  if tensor["name"].startswith(self.logits) and tensor["dtype"] == np.uint8)
        self.place, (self.scale, self.zero) = found["index"], found["quantization"]

    def answer(self, photo: np.ndarray) -> np.ndarray:
        self.tflite.set_tensor(0, resize_image(photo, (513, 513))[None])
        self.tflite.invoke()
        logits = self.scale * (np.float32(self.tflite.get_tensor(self.place)[0]) - self.zero)
        odds = np.exp(logits - logits.max(axis=2, keepdims=True))
        return odds[..., self.person] / odds.sum(axis=2)


def agreed(teachers: list, photo: np.ndarray) -> np.ndarray:
    "The teachers' mean answer to a photo and its mirror image, 0.5 where they see a border."
    total, mirrored = 0, np.ascontiguousarray(photo[:, ::-1])
    for teacher, share in zip(teachers, shares):
        both = teacher.answer(photo) + teacher.answer(mirrored)[:, ::-1]
        total += share / 2 * resize_probability(np.float32(both), photo.shape[:2])
    total = np.clip(total, 1e-4, 1 - 1e-4)
    return 1 / (1 + (1 - total) / total * np.exp(-shift))


def soft_label(mask: np.ndarray, answer: np.ndarray, unsure: bool) -> np.ndarray:
    "Half mask, half answer; 128 is a crowd, or (`unsure`) where only the answer is known."
    known = (mask == 255) + answer
    label = np.where(mask == 128, 2 * answer, known) / 2
    levels = np.uint8(3 + np.round(soft_levels * label))
    levels[label < 0.05], levels[label > 0.95] = 0, 1
    if not unsure: levels[mask == 128] = 2
    return levels


def label(options: argparse.Namespace):
    "Write the soft labels of all photos that are worth it."
    teachers = [Network(), Network(options.second), DeepLab(options.deeplab)]
    (options.out / "masks").mkdir(parents=True, exist_ok=True)
    for folder in (options.data / "pairs", options.data / "extra", options.pseudo):
        with open(folder / "index.csv", newline="") as file: rows = list(csv.DictReader(file))
        for row in rows:
            at, kind = options.out / f"masks/{row['name']}.png", row["source"].partition("-")[0]
            if kind not in ("coco", "voc", "pseudo") or row["split"] != "train": continue
            if row["source"] == "voc-background" or at.exists(): continue
            photo = read_image(folder / f"frames/{row['name']}.jpg")
            mask = read_mask(folder / f"masks/{row['name']}.png")
            levels = soft_label(mask, agreed(teachers, photo), kind == "pseudo")
            write_bytes(at, cv2.imencode(".png", levels)[1].tobytes())


def held_out(name: str) -> bool:
    "Every third photo of animals: it is for counting false alarms."
    return name.startswith("voc_") and zlib.crc32(name.encode()) % 3 == 0


class SoftPhotos(MaskedPhotos):
    "`MaskedPhotos` with the soft labels where there are some, without the held-out animals."
    def __init__(self, folders: list[Path], soft: Path):
        super().__init__(folders, "train", often)
        self.paths = [(frame, mask) for frame, mask in self.paths
                      if mask.exists() or not held_out(frame.stem)]
        self.soft = soft

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        frame, path = self.paths[index][0], self.soft / f"masks/{self.paths[index][1].name}"
        if not path.exists(): return super().__getitem__(index)
        return read_image(frame), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[..., None]


def jaccard_metric_loss(label, probability, smooth: float = 0.01):
    "Binary cross-entropy plus 1 − soft IoU, photo by photo, both for soft labels."
    label, pixels = ops.cast(label, "float32"), np.prod(label.shape[1:3])
    known, between = ops.cast(label != 2, "float32"), ops.cast(label > 2, "float32")
    truth = known * ((1 - between) * label + between * (label - 3) / soft_levels)
    probability, axes = known * ops.cast(probability, "float32"), (1, 2, 3)
    cross_entropy = ops.sum(keras.losses.binary_crossentropy(truth, probability), axis=(1, 2))
    apart, both = (ops.sum(each, axis=axes)
                   for each in (ops.abs(truth - probability), truth + probability))
    smooth = smooth * pixels
    jaccard = 1 - (both - apart + smooth) / (both + apart + smooth)
    return ops.mean(cross_entropy / ops.maximum(ops.sum(known, axis=axes), 1) + jaccard)


def train(options: argparse.Namespace):
    "All epochs, or what is left of them."
    keras.mixed_precision.set_global_policy(options.precision)
    options.run.mkdir(parents=True, exist_ok=True)
    done, data = len(read_history(options.run / "history.csv")), options.data
    model, twin = (freeze_encoder(pretrained_unet(image_size=(side, side)), 0.5)
                   for side in (phase.side, used_at))
    slow = frozenset(weight.path for layer in encoder_layers(model.get_layer("unet"))
                     for weight in layer.weights)
    optimizer = EncoderRate(warm_cosine(phase.rate, phase.epochs * epoch_steps), slow,
                            encoder_share, 1e-4)
    optimizer.use_ema, optimizer.ema_momentum = True, 0.99
    model.compile(optimizer, loss=jaccard_metric_loss)
    optimizer.build(model.trainable_variables)
    if done: model.load_weights(options.run / "last.weights.h5")
    photos = SoftPhotos([data / "pairs", data / "extra", options.pseudo], options.soft)
    keep = Keep(options.run, phase, twin, MaskedPhotos([data / "pairs"], "choose"), 0)
    fit(model, photos, phase, 7, done, keep)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, places in (("label", ("data", "out", "second", "deeplab", "pseudo")),
                         ("train", ("data", "soft", "run", "pseudo"))):
        command = commands.add_parser(name)
        for place in places: command.add_argument(place, type=Path)
    add_precision(commands.choices["train"])
    return parser.parse_args()


def main():
    options = parse()
    {"label": label, "train": train}[options.command](options)


if __name__ == "__main__": main()
