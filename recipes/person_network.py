"""Train a network on MoveNet's encoder, and join it with the lessons' U-Net in one file.

    python recipes/person_network.py train DATA RUN MOVENET.json [--pseudo FOLDER]
        [--precision mixed_bfloat16]
    python recipes/person_network.py export DATA BEST.weights.h5 MOVENET.json OUT [--pseudo FOLDER]
        [--share 0.45] [--threshold 0.5] [--sure 0]

DATA holds pairs/ and extra/ (frames, masks, index.csv with name, source, split); movenet.py fetches
MOVENET.json; pseudo_masks.py makes FOLDER, which helped nothing. `train`, called again, goes on.
First only the new decoder learns, then MoveNet's later blocks too, at a fifth of its rate; early
blocks know edges and colours already, and cost the most. What is measured and kept is a moving
average of the weights. A phase's folder: history.csv, last.weights.h5 (with the optimizer, to go
on), average.weights.h5, best.weights.h5 (by the mean IoU on `choose`, at the photos' own size).
`export` joins both networks: the answer is their weighted mean; compare_networks.py chose the share
of this one, threshold and least peak.
"""
import argparse
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

from arguments import add_precision, add_pseudo, recipe_parser
from movenet import fit_top, movenet
from person_photos import MaskedPhotos, training_batches

from bg_remover import __version__
from bg_remover.images import resize_image, resize_probability
from bg_remover.metrics import score
from bg_remover.base.backbones import BatchNormalization, minus_one_to_one
from bg_remover.model import pretrained_unet
from bg_remover.base.export import export_onnx, save_half_weights
from bg_remover.base.optimizers import EncoderRate, warm_cosine
from bg_remover.base.runs import read_history, save_weights, write_history
from bg_remover.training import photo_jaccard_loss

filters = (64, 48, 32)  # of the decoder's stages, at strides 16, 8 and 4
stages = [["top"], ["stride_16", "pyramid_16"], ["stride_8", "pyramid_8"],
          ["stride_4", "pyramid_4", "joints", "centres"]]
final_side, joined_side = 288, 384  # of this network's picture, and of the shipped one's
batch_size, epoch_steps = 16, 150
encoder_share = 0.2  # of the rate
turns = {"coco-train2017": 4, "coco-val2017": 4, "coco-more": 4, "voc": 4, "pseudo": 2,
         "background": 2, "voc-background": 2, "portrait": 1, "ccp": 1}  # how often in each turn
licences = ("Weights: Apache-2.0. DeepLab's and MoveNet's, from which the encoders started: "
            "Apache-2.0. COCO annotations: CC BY 4.0. The training photos keep their owners' "
            "licences and are not redistributed")


class Phase(NamedTuple):
    "A stretch of training with one schedule."
    folder: str
    side: int
    epochs: int
    rate: float  # the highest
    learns_from: str | None  # MoveNet's first layer that learns
    paste: float = 0.4  # share of photos in front of which people are pasted


phases = [
    Phase("0-decoder", 288, 5, 2e-3, None),
    Phase("1-late", 288, 10, 6e-4, "block_6_expand"),
]
# Tried after these and no better on `choose` (benchmarks/results/more_photos.csv): 16 epochs of
# Phase("2-more", 288, 18, 8e-4, "block_3_expand") with --pseudo, and two of
# Phase("2-large", 384, 6, 3e-4, "block_6_expand") without.


def crowd_loss(truth, probability):
    "`photo_jaccard_loss`; a crowd (2) costs nothing, a person in front of it (3) is a person."
    probability = ops.where(truth == 2, 0.0, probability)
    person = ops.logical_or(truth == 1, truth == 3)
    return photo_jaccard_loss(ops.cast(person, "float32"), probability)


def build_decoder(skips: list[list], filters: tuple[int, ...]):
    "From any encoder's maps, those of the largest stride first, to a state on the last one's grid."
    state = skips[0][0]
    for stage, (maps, count) in enumerate(zip(skips[1:], filters)):
        height, width = maps[0].shape[1:3]
        resize = layers.Resizing(height, width, interpolation="bilinear")
        state = layers.UpSampling2D(2)(state) if state.shape[1] * 2 == height else resize(state)
        state = layers.Concatenate()([state, *maps])
        for part in "ab":
            label = f"decoder_stage{stage}{part}"
            conv = layers.Conv2D(count, 3, padding="same", use_bias=False, name=f"{label}_conv")
            state = BatchNormalization(name=f"{label}_bn")(conv(state))
            state = layers.ReLU(name=f"{label}_relu")(state)
    return state


def build(side: int, graph: Path) -> keras.Model:
    "The network on MoveNet's encoder: RGB 0–255 in, probability out, both B×side×side."
    image = keras.Input((side, side, 3), name="image")
    seen = movenet(graph, (side, side), short=True)(minus_one_to_one(image))
    seen = {name: BatchNormalization(name=f"{name}_bn")(each) for name, each in seen.items()}
    state = build_decoder([[seen[name] for name in names] for names in stages], filters)
    logit = layers.Conv2D(1, 3, padding="same", name="logit")(state)
    answer = layers.Activation("sigmoid", dtype="float32", name="quarter")(logit)
    enlarge = layers.UpSampling2D(4, interpolation="bilinear", dtype="float32", name="enlarge")
    return keras.Model(image, enlarge(answer), name="person_network")


def start(graph: Path, photos: MaskedPhotos, path: Path):
    "Write MoveNet's weights, its last layers made one, and a decoder that knows nothing."
    model, chance = build(phases[0].side, graph), np.random.default_rng(0)
    some = chance.choice(len(photos), 160, replace=False)
    size = model.input_shape[1:3]
    some = np.float32([resize_image(photos[place][0], size) for place in some])
    model.get_layer("movenet").get_layer("top").set_weights(fit_top(graph, some / 127.5 - 1))
    save_weights(model, path)
    print(f"{model.count_params():,} weights")


def thaw(model: keras.Model, learns_from: str | None) -> frozenset[str]:  # MoveNet's weights
    "Let MoveNet learn from one layer on, but no batch normalisation of it."
    encoder = model.get_layer("movenet")
    names = [layer.name for layer in encoder.layers]
    begin = names.index(learns_from) if learns_from else len(names)
    for number, layer in enumerate(encoder.layers):
        layer.trainable = number >= begin and not isinstance(layer, layers.BatchNormalization)
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
    "After each epoch measure the average of the weights; keep what is needed."
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
        row = dict(epoch=epoch + 1, samples=seen, side=self.phase.side)
        row |= dict(rate=float(self.model.optimizer.learning_rate), loss=logs["loss"], choose=value)
        if value > max((earlier["choose"] for earlier in self.history), default=-1):
            save_weights(self.twin, self.run / "best.weights.h5")
        save_weights(self.twin, self.run / "average.weights.h5")
        save_weights(self.model, self.run / "last.weights.h5")
        self.history.append(row)
        write_history(self.run / "history.csv", self.history)
        print({name: float(f"{number:.4g}") for name, number in row.items()}, flush=True)


def compile_for(model: keras.Model, phase: Phase, slow: frozenset[str], share: float, last: Path):
    "Ready to train, as an interrupted run left it; `slow` weights learn at a share of the rate."
    rate = warm_cosine(phase.rate, phase.epochs * epoch_steps)
    optimizer = EncoderRate(rate, slow, share, 1e-4)
    optimizer.use_ema, optimizer.ema_momentum = True, 0.99
    model.compile(optimizer, loss=crowd_loss)
    optimizer.build(model.trainable_variables)
    if last.exists(): model.load_weights(last)


def fit(model: keras.Model, photos: MaskedPhotos, phase: Phase, seed: int, done: int, keep: Keep):
    "Train for the epochs of a phase that are left."
    stream = training_batches(photos, phase.side, phase.paste, seed, batch_size=batch_size,
                              steps=epoch_steps)
    follow = keras.callbacks.LambdaCallback(lambda epoch, logs: setattr(stream, "epoch", epoch))
    model.fit(stream, epochs=phase.epochs, initial_epoch=done, shuffle=False,
              callbacks=[follow, keep], verbose=2)


def run_phase(data: Path, photos: MaskedPhotos, run: Path, graph: Path, phase: Phase, begin: Path,
              samples: int):
    "Train one phase, or what is left of it."
    done = len(read_history(run / "history.csv"))
    if done >= phase.epochs: return
    run.mkdir(parents=True, exist_ok=True)
    model, twin = build(phase.side, graph), build(phase.side, graph)
    thaw(twin, phase.learns_from)
    slow = thaw(model, phase.learns_from)
    model.load_weights(begin)
    compile_for(model, phase, slow, encoder_share, run / "last.weights.h5")
    keep = Keep(run, phase, twin, MaskedPhotos([data / "pairs"], "choose"), samples)
    fit(model, photos, phase, phases.index(phase), done, keep)


def train(data: Path, run: Path, graph: Path, precision: str, pseudo: list[Path]):
    "All phases, each from the best epoch of the one before."
    begin, samples = run / "start.weights.h5", 0
    run.mkdir(parents=True, exist_ok=True)
    photos = MaskedPhotos([data / "pairs", data / "extra", *pseudo], "train", turns)
    if not begin.exists(): start(graph, MaskedPhotos([data / "pairs"], "train", turns), begin)
    keras.mixed_precision.set_global_policy(precision)
    for phase in phases:
        run_phase(data, photos, run / phase.folder, graph, phase, begin, samples)
        begin = run / phase.folder / "best.weights.h5"
        samples += phase.epochs * epoch_steps * batch_size


def join(path: Path, graph: Path, share: float) -> keras.Model:
    "The lessons' U-Net and this network in one, whose part of the answer is `share`; 1 is all."
    model = build(final_side, graph)
    model.load_weights(path)
    if share == 1: return model
    second = keras.Model(model.inputs, model.get_layer("quarter").output, name="second")
    size, half = (joined_side, joined_side), joined_side // 2
    image = keras.Input((*size, 3), name="image")
    one = pretrained_unet(image_size=size).get_layer("unet")(minus_one_to_one(image))
    other = second(layers.Resizing(final_side, final_side, interpolation="bilinear")(image))
    other = layers.Resizing(half, half, interpolation="bilinear")(other)
    mean = layers.Add()([layers.Rescaling(1 - share)(one), layers.Rescaling(share)(other)])
    enlarge = layers.UpSampling2D(2, interpolation="bilinear", name="enlarge")
    return keras.Model(image, enlarge(mean), name="two_opinions")


def export(options: argparse.Namespace):
    "Write person.onnx for the package, and this network's weights to go on from."
    model = join(options.weights, options.graph, options.share)
    first, second = (MaskedPhotos([options.data / "pairs", *more], "train").counts
                     for more in ([], [options.data / "extra", *options.pseudo]))
    card = dict(version=__version__, licences=licences, share_of_the_second=options.share,
                trained_on=dict(sorted(first.items())),
                second_trained_on=dict(sorted(second.items())))
    export_onnx(model, options.out / "person.onnx", options.threshold, options.sure, half=True,
                **card)
    save_half_weights(join(options.weights, options.graph, 1), options.out / "second.weights.h5")


def parse() -> argparse.Namespace:
    parser = recipe_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, places in (("train", ("data", "run", "graph")),
                         ("export", ("data", "weights", "graph", "out"))):
        command = commands.add_parser(name)
        for place in places: command.add_argument(place, type=Path)
        add_pseudo(command)
    add_precision(commands.choices["train"])
    exporting = commands.choices["export"]
    exporting.add_argument("--share", type=float, default=0.45,
                           help="of this network in the answer of both")
    exporting.add_argument("--threshold", type=float, default=0.5)
    exporting.add_argument("--sure", type=float, default=0.0,
                           help="the probability that a region has to reach somewhere")
    return parser.parse_args()


def main():
    options = parse()
    if options.command == "export": return export(options)
    train(options.data, options.run, options.graph, options.precision, options.pseudo)


if __name__ == "__main__": main()
