"""Train a network that sees a photo with two encoders: the shipped one, and MoveNet's.

    python recipes/person_network.py train DATA RUN MOVENET.json [--precision mixed_bfloat16]
    python recipes/person_network.py export BEST.weights.h5 MOVENET.json OUT [--threshold 0.45]

DATA holds pairs/ and extra/ (frames, masks, index.csv with name, source, split); movenet.py fetches
MOVENET.json. `train`, called again, goes on. The shipped network stays as it is. MoveNet looks at a
smaller copy of the photo. A second decoder takes, at each stride, its own state, the state of the
shipped decoder and MoveNet's features; its logit is added to the shipped one's. Its last weights
start at zero, so before the first step the network answers as the shipped one does. The later part
of MoveNet learns with it, at a tenth of its rate. What is measured and kept is a moving average of
the weights. A phase's folder: history.csv, last.weights.h5 (with the optimizer, to go
on), average.weights.h5, best.weights.h5 (by the mean IoU on `choose`, at the photos' own size).
"""
import argparse
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

from movenet import fit_top, movenet
from person_photos import MaskedPhotos, training_batches

from bg_remover.images import resize_image, resize_probability
from bg_remover.metrics import score
from bg_remover.base.backbones import BatchNormalization, minus_one_to_one
from bg_remover.model import pretrained_unet
from bg_remover.base.export import export_onnx, save_half_weights
from bg_remover.base.optimizers import EncoderRate, warm_cosine
from bg_remover.base.runs import read_history, save_weights, write_history
from bg_remover.training import photo_jaccard_loss

filters = (48, 40, 32, 16)  # of the second decoder's stages
second_share = 0.75  # side of MoveNet's picture, as a share of the first
final_side, batch_size, epoch_steps = 384, 16, 150
encoder_share = 0.1  # of the rate
turns = {"coco-train2017": 4, "coco-val2017": 4, "coco-more": 4, "voc": 4, "background": 2,
         "voc-background": 2, "portrait": 1, "ccp": 1}  # how often a source comes in each turn
first_maps = [*(f"decoder_stage{stage}b_relu" for stage in range(4)), "final_conv"]
second_maps = [["stride_16", "pyramid_16"], ["stride_8", "pyramid_8"],
               ["stride_4", "pyramid_4", "joints", "centres"], []]


class Phase(NamedTuple):
    "A stretch of training with one schedule."
    folder: str
    side: int  # of the first encoder's picture
    epochs: int
    rate: float  # the highest
    frozen: float  # share of MoveNet's layers that stay as they are
    paste: float = 0.4  # share of photos in front of which people are pasted
    more: tuple[Path, ...] = ()  # folders of more photos


phases = [
    Phase("0-second", 256, 9, 1e-3, 0.4),
    Phase("1-larger", 384, 2, 2e-4, 0.7),
]


def crowd_loss(truth, probability):
    "`photo_jaccard_loss`; a crowd (2) costs nothing, a person in front of it (3) is a person."
    probability = ops.where(truth == 2, 0.0, probability)
    person = ops.logical_or(truth == 1, truth == 3)
    return photo_jaccard_loss(ops.cast(person, "float32"), probability)


def fitting(maps, height: int, width: int):
    "Maps on another grid."
    if maps.shape[1:3] == (height, width): return maps
    if maps.shape[1] * 2 == height: return layers.UpSampling2D(2)(maps)
    return layers.Resizing(height, width, interpolation="bilinear")(maps)


def build_decoder(skips: list[list], filters: tuple[int, ...], name: str = "decoder"):
    "From any encoder's maps, those of the largest stride first, to a state on the last one's grid."
    state = skips[0][0]
    for stage, (maps, count) in enumerate(zip(skips[1:], filters)):
        height, width = maps[0].shape[1:3]
        state = layers.Concatenate()([fitting(each, height, width) for each in (state, *maps)])
        for part in "ab":
            label = f"{name}_stage{stage}{part}"
            conv = layers.Conv2D(count, 3, padding="same", use_bias=False, name=f"{label}_conv")
            state = BatchNormalization(name=f"{label}_bn")(conv(state))
            state = layers.ReLU(name=f"{label}_relu")(state)
    return state


def build(side: int, graph: Path) -> keras.Model:
    "The network with two encoders: RGB 0–255 in, probability out."
    small = int(side * second_share)
    unet = pretrained_unet(image_size=(side, side)).get_layer("unet")
    maps = [unet.get_layer(name).output for name in first_maps]
    first, second = keras.Model(unet.inputs, maps, name="first"), movenet(graph, (small, small),
                                                                          True)
    image = keras.Input((side, side, 3), name="image")
    seen = second(minus_one_to_one(layers.Resizing(small, small, interpolation="bilinear")(image)))
    seen = {name: BatchNormalization(name=f"{name}_bn")(each) for name, each in seen.items()}
    *known, logit = first(minus_one_to_one(image))
    skips = [[one, *map(seen.get, names)] for one, names in zip(known, second_maps)]
    state = build_decoder([[seen["top"]], *skips], filters, "second")
    more = layers.Conv2D(1, 3, padding="same", kernel_initializer="zeros",
                         name="second_logit")(state)
    answer = layers.Activation("sigmoid", dtype="float32")(layers.Add()([logit, more]))
    enlarge = layers.UpSampling2D(2, interpolation="bilinear", dtype="float32", name="enlarge")
    return keras.Model(image, enlarge(answer), name="person_network")


def start(graph: Path, photos: MaskedPhotos, path: Path):
    "Write weights with which the network answers as the shipped one."
    shipped, model, chance = pretrained_unet(), build(final_side, graph), np.random.default_rng(0)
    some = chance.choice(len(photos), 160, replace=False)
    some = [resize_image(photos[index][0], (288, 288)) for index in some]
    fitted = fit_top(graph, np.float32(some) / 127.5 - 1)
    model.get_layer("movenet").get_layer("top").set_weights(fitted)
    some = np.float32([resize_image(photo, (final_side, final_side)) for photo in some[:4]])
    difference = np.abs(shipped.predict_on_batch(some) - model.predict_on_batch(some)).max()
    assert difference < 1e-4, difference
    save_weights(model, path)
    print(f"{model.count_params():,} weights; differs from the shipped network by {difference:.1e}")


def thaw(model: keras.Model, frozen: float) -> frozenset[str]:  # paths of MoveNet's weights
    "Let the later layers of MoveNet learn, but no batch normalisation of it."
    encoder, model.get_layer("first").trainable = model.get_layer("movenet"), False
    for number, layer in enumerate(encoder.layers):
        late = number >= frozen * len(encoder.layers)
        layer.trainable = late and not isinstance(layer, layers.BatchNormalization)
    return frozenset(weight.path for weight in encoder.weights)


def photo_ious(model: keras.Model, photos: MaskedPhotos, threshold: float = 0.5) -> list[float]:
    "IoU of each photo at its own size."
    ious, names = [], np.array((0, 255, 128), np.uint8)
    for place in range(len(photos)):
        frame, mask = photos[place]
        small = np.float32(resize_image(frame, model.input_shape[1:3]))[None]
        answer = resize_probability(model.predict_on_batch(small)[0, ..., 0], mask.shape[:2])
        ious.append(score(answer, names[mask[..., 0]], threshold)["iou"])
    return ious


class Keep(keras.callbacks.Callback):
    "After each epoch measure the average of the weights at the final size; keep what is needed."
    def __init__(self, run: Path, phase: Phase, twin: keras.Model, choose: MaskedPhotos, seen: int):
        super().__init__()
        self.run, self.phase, self.twin, self.choose, self.before = run, phase, twin, choose, seen
        self.history = read_history(run / "history.csv")

    def on_epoch_end(self, epoch, logs=None):
        self.twin.set_weights(self.model.get_weights())
        averages = self.model.optimizer._model_variables_moving_average
        for mine, average in zip(self.twin.trainable_variables, averages): mine.assign(average)
        value = float(np.mean(photo_ious(self.twin, self.choose)))
        seen = self.before + (epoch + 1) * epoch_steps * batch_size
        row = dict(epoch=epoch + 1, samples=seen, side=self.phase.side, frozen=self.phase.frozen)
        row |= dict(rate=float(self.model.optimizer.learning_rate), loss=logs["loss"], choose=value)
        if value > max((earlier["choose"] for earlier in self.history), default=-1):
            save_weights(self.twin, self.run / "best.weights.h5")
        save_weights(self.twin, self.run / "average.weights.h5")
        save_weights(self.model, self.run / "last.weights.h5")
        self.history.append(row)
        write_history(self.run / "history.csv", self.history)
        print({name: float(f"{number:.4g}") for name, number in row.items()}, flush=True)


def compiled(model: keras.Model, phase: Phase, begin: Path, last: Path) -> keras.Model:
    "The model ready to train, as the phase before left it or as an interrupted run did."
    slow, steps = thaw(model, phase.frozen), phase.epochs * epoch_steps
    model.load_weights(begin)
    optimizer = EncoderRate(warm_cosine(phase.rate, steps), slow, encoder_share, 1e-4)
    optimizer.use_ema, optimizer.ema_momentum = True, 0.99
    model.compile(optimizer, loss=crowd_loss)
    optimizer.build(model.trainable_variables)
    if last.exists(): model.load_weights(last)
    return model


def run_phase(data: Path, run: Path, graph: Path, phase: Phase, begin: Path, samples: int):
    "Train one phase, or what is left of it."
    done = len(read_history(run / "history.csv"))
    if done >= phase.epochs: return
    run.mkdir(parents=True, exist_ok=True)
    model, twin = build(phase.side, graph), build(final_side, graph)
    thaw(twin, phase.frozen)
    compiled(model, phase, begin, run / "last.weights.h5")
    folders = [data / "pairs", data / "extra", *phase.more]
    stream = training_batches(MaskedPhotos(folders, "train", turns), phase.side, phase.paste,
                              phases.index(phase), batch_size=batch_size, steps=epoch_steps)
    follow = keras.callbacks.LambdaCallback(lambda epoch, logs: setattr(stream, "epoch", epoch))
    keep = Keep(run, phase, twin, MaskedPhotos([data / "pairs"], "choose"), samples)
    model.fit(stream, epochs=phase.epochs, initial_epoch=done, shuffle=False,
              callbacks=[follow, keep], verbose=2)


def train(data: Path, run: Path, graph: Path, precision: str):
    "All phases, each from the best epoch of the one before."
    begin, samples = run / "start.weights.h5", 0
    run.mkdir(parents=True, exist_ok=True)
    if not begin.exists(): start(graph, MaskedPhotos([data / "pairs"], "train", turns), begin)
    keras.mixed_precision.set_global_policy(precision)
    for phase in phases:
        run_phase(data, run / phase.folder, graph, phase, begin, samples)
        begin = run / phase.folder / "best.weights.h5"
        samples += phase.epochs * epoch_steps * batch_size


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "export"))
    parser.add_argument("source", type=Path, help="to train DATA, to export the weights")
    parser.add_argument("first", type=Path, help="to train RUN, to export MOVENET.json")
    parser.add_argument("second", type=Path, help="to train MOVENET.json, to export a folder")
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--side", type=int, default=final_side)
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--sure", type=float, default=0.0)
    options = parser.parse_args()
    if options.what == "train":
        return train(options.source, options.first, options.second, options.precision)
    model = build(options.side, options.first)
    model.load_weights(options.source)
    path = options.second / "person.onnx"
    export_onnx(model, path, options.threshold, options.sure, half=True)
    save_half_weights(model, options.second / "person.weights.h5")


if __name__ == "__main__": main()
