"""A second network on MoveNet's features, whose answer is averaged with the shipped one's.

    python recipes/second_opinion.py train DATA RUN MOVENET.json [--rounds 1]
    python recipes/second_opinion.py export ROUND.weights.h5 MOVENET.json OUT [--share 0.3]

MoveNet's own weights stay as they are, so its features are computed once for each photo (as
float16, in memory) and only the decoder learns, in a fraction of the time. The first round sees the
photos as they are; each later one new variations of them, at half the rate. Called again, `train`
goes on after the last complete round. `export` joins both networks in one.
"""
import argparse
import csv
from pathlib import Path

import keras
import numpy as np
from keras import layers

from movenet import fit_top, movenet
from person_network import build_decoder
from person_photos import MaskedPhotos

from bg_remover.generator import augment_pair
from bg_remover.images import resize_image, resize_mask, resize_probability
from bg_remover.metrics import score
from bg_remover.base.backbones import BatchNormalization, minus_one_to_one
from bg_remover.model import pretrained_unet
from bg_remover.base.export import export_onnx, save_half_weights
from bg_remover.base.optimizers import EncoderRate, warm_cosine
from bg_remover.base.runs import read_history, save_weights, write_history
from bg_remover.training import photo_jaccard_loss

side, final_side, batch_size, epochs, rate = 288, 384, 16, 6, 2e-3
filters = (64, 48, 32)
stages = [["top"], ["stride_16", "pyramid_16"], ["stride_8", "pyramid_8"],
          ["stride_4", "pyramid_4", "joints", "centres"]]
kept = {"portrait": 450, "ccp": 150, "background": 200, "voc-background": 150}  # others: all


def build_head(shapes: dict[str, tuple]) -> keras.Model:
    "From MoveNet's features to the probability of a person."
    features = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    seen = {name: BatchNormalization(name=f"{name}_bn")(each) for name, each in features.items()}
    state = build_decoder([[seen[name] for name in names] for names in stages], filters, "second")
    logit = layers.Conv2D(1, 3, padding="same", name="second_logit")(state)
    return keras.Model(features, layers.Activation("sigmoid", dtype="float32")(logit), name="head")


def features_of(graph: Path, top: list[np.ndarray]) -> keras.Model:
    "Photos as bytes in, MoveNet's features out."
    encoder = movenet(graph, (side, side), short=True)
    encoder.get_layer("top").set_weights(top)
    image = keras.Input((side, side, 3), name="image")
    return keras.Model(image, encoder(minus_one_to_one(image)))


class Cached(keras.utils.PyDataset):
    "Features and masks of photos, in a new order in each epoch."
    def __init__(self, encoder: keras.Model, pairs, count: int, seed: int = 0):
        super().__init__()
        self.parts, self.chance = {}, np.random.default_rng(seed)
        self.masks = np.empty((count, side // 2, side // 2, 1), np.uint8)
        for at in range(0, count, batch_size):
            frames, masks = zip(*(pairs(place) for place in range(at, min(at + batch_size, count))))
            small = [resize_mask(mask[..., 0], (side // 2, side // 2)) for mask in masks]
            self.masks[at:at + batch_size] = np.stack(small)[..., None]
            frames = np.float32([resize_image(frame, (side, side)) for frame in frames])
            self.keep(at, encoder.predict_on_batch(frames))
        self.on_epoch_end()

    def keep(self, at: int, answers: dict):
        for name, values in answers.items():
            if name not in self.parts:
                self.parts[name] = np.empty((len(self.masks), *values.shape[1:]), np.float16)
            self.parts[name][at:at + batch_size] = values.astype(np.float16)

    def __len__(self) -> int: return len(self.masks) // batch_size
    def on_epoch_end(self): self.order = self.chance.permutation(len(self.masks))

    def take(self, places) -> dict[str, np.ndarray]:
        return {name: np.float32(part[places]) for name, part in self.parts.items()}

    def __getitem__(self, step: int):
        some = np.sort(self.order[step * batch_size:][:batch_size])
        return self.take(some), self.masks[some].astype(np.float32)


def enlarged_loss(truth, probability):
    "`photo_jaccard_loss` on a grid twice as fine as the answer's."
    enlarge = layers.UpSampling2D(2, interpolation="bilinear", dtype="float32")
    return photo_jaccard_loss(truth, enlarge(probability))


def some_photos(folders: list[Path], photos: MaskedPhotos, seed: int) -> list[int]:
    "The places of all photos of some sources, and of a part of the others."
    sources, places = {}, {}
    for folder in folders:
        with open(folder / "index.csv", newline="") as file:
            sources |= {row["name"]: row["source"] for row in csv.DictReader(file)}
    for place in np.random.default_rng(seed).permutation(len(photos)):
        places.setdefault(sources[photos.paths[place][0].stem], []).append(int(place))
    return sorted(place for source, those in places.items() for place in those[:kept.get(source)])


def choose_iou(head: keras.Model, held: Cached, truths: list[np.ndarray]) -> float:
    "Mean IoU of the second network alone on `choose`, at the photos' own size."
    answers = [head.predict_on_batch(held.take(slice(at, at + 20)))
               for at in range(0, len(truths), 20)]
    ious = [score(resize_probability(answer[..., 0], truth.shape), np.uint8(truth * 255))["iou"]
            for answer, truth in zip(np.concatenate(answers), truths)]
    return float(np.mean(ious))


def train_round(head: keras.Model, known: Cached, held: Cached, truths, number: int, run: Path):
    "Some epochs on one set of views; what they reached goes into history.csv."
    schedule = warm_cosine(rate if number == 0 else rate / 2, epochs * len(known))
    head.compile(EncoderRate(schedule, frozenset(), 1.0, 1e-4), loss=enlarged_loss)
    history = read_history(run / "history.csv")
    for epoch in range(epochs):
        losses = [float(head.train_on_batch(*known[step])) for step in range(len(known))]
        known.on_epoch_end()
        before = history[-1]["samples"] if history else 0
        history.append(dict(round=number, epoch=epoch + 1, samples=before + len(known) * batch_size,
                            side=side, loss=losses[-1], choose=choose_iou(head, held, truths)))
        write_history(run / "history.csv", history)
        print(history[-1], flush=True)


def train(data: Path, run: Path, graph: Path, rounds: int):
    "Features, then the decoder, then new features."
    run.mkdir(parents=True, exist_ok=True)
    folders = [data / "pairs", data / "extra"]
    photos, choose = MaskedPhotos(folders, "train"), MaskedPhotos(folders[:1], "choose")
    some = [photos[place][0] for place in some_photos(folders, photos, 0)[::16]]
    some = np.float32([resize_image(each, (side, side)) for each in some])
    top = fit_top(graph, some / 127.5 - 1)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    encoder = features_of(graph, top)
    head = build_head({name: each.shape[1:] for name, each in encoder.output.items()})
    second = keras.Model(encoder.inputs, head(encoder.output))
    done = len(list(run.glob("round-*.weights.h5")))
    if done: second.load_weights(run / f"round-{done - 1}.weights.h5")
    held = Cached(encoder, choose.__getitem__, len(choose))
    truths = [choose[place][1][..., 0] for place in range(len(choose))]
    for number in range(done, rounds):
        places = some_photos(folders, photos, number)
        def view(place: int):
            frame, mask = photos[places[place]]
            if number == 0: return frame, mask
            return augment_pair(frame, mask, (side, side), np.random.default_rng((number, place)))
        train_round(head, Cached(encoder, view, len(places), number), held, truths, number, run)
        save_weights(second, run / f"round-{number}.weights.h5")


def join(path: Path, graph: Path, share: float) -> keras.Model:
    "The shipped network and the second in one; `share` of the answer is the second's."
    encoder = features_of(graph, [np.zeros((1, 1, 480, 64)), np.zeros(64)])
    head = build_head({name: each.shape[1:] for name, each in encoder.output.items()})
    second = keras.Model(encoder.inputs, head(encoder.output))
    second.load_weights(path)
    size, half = (final_side, final_side), final_side // 2
    image = keras.Input((*size, 3), name="image")
    one = pretrained_unet(image_size=size).get_layer("unet")(minus_one_to_one(image))
    other = second(layers.Resizing(side, side, interpolation="bilinear")(image))
    other = layers.Resizing(half, half, interpolation="bilinear")(other)
    mean = layers.Add()([layers.Rescaling(1 - share)(one), layers.Rescaling(share)(other)])
    enlarge = layers.UpSampling2D(2, interpolation="bilinear", name="enlarge")
    return keras.Model(image, enlarge(mean), name="two_opinions")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "export"))
    parser.add_argument("paths", type=Path, nargs=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.3, help="of the second network")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--sure", type=float, default=0.0)
    options = parser.parse_args()
    if options.what == "train": return train(*options.paths, options.rounds)
    weights, graph, out = options.paths
    model = join(weights, graph, options.share)
    export_onnx(model, out / "person.onnx", options.threshold, options.sure, half=True)
    save_half_weights(model, out / "person.weights.h5")


if __name__ == "__main__": main()
