"""Ask a second network where the U-Net finds somebody: is that a person, or an animal?

    python recipes/second_opinion.py compare DATA DEEPLAB.tflite OUT.csv
    python recipes/second_opinion.py export DEEPLAB.tflite OUT.onnx [--share 0.2]
        [--threshold 0.4] [--peak 0.8] [--careful-peak 0.8]

DATA is what person_network.py trains on, DEEPLAB.tflite the file that deeplab_encoder.py reads.
`compare` measures the U-Net that ships (`pretrained_unet`) alone and its mean with DeepLab, which
counts by a share, and chooses threshold and least peak of each on `choose`; `export` writes both
networks into one file, OUT.onnx. With a share of 0 it writes the U-Net alone, as the lessons export
theirs: `--share 0 --peak 0.95 --careful-peak 0.85`.

The U-Net learnt from people and from a few hundred photos without any; DeepLab learnt PASCAL VOC's
twenty classes, cats, dogs, horses and sofas among them, so it rarely takes one for a person. Its
answer is too coarse to cut along: a grid of one cell for 16 × 16 pixels. But a region that must
reach a high probability somewhere (`hysteresis_threshold`) hardly reaches it in the mean unless
both networks see a person there.
"""
import argparse
import tempfile
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
from keras import layers

from arguments import recipe_parser
from compare_looks import Way, shaped, shaped_mirrored, stretched
from compare_looks import compare as compare_ways
from deeplab_encoder import read_layers
from person_model import licences
from quality import person_class

from bg_remover import __version__
from bg_remover.base.backbones import minus_one_to_one
from bg_remover.base.export import export_onnx
from bg_remover.base.network import open_model, shipped_model
from bg_remover.model import pretrained_unet

stride = 16  # pixels from cell to cell of DeepLab's grid
side = 384  # of a square with as many pixels as the networks see
ways = (("the U-Net, stretched to a square", 0, [(stretched, side)]),
        ("the U-Net, in the photo's shape", 0, [(shaped, side)]),
        ("both, in the photo's shape", 0.2, [(shaped, side)]),
        ("and the mirror image", 0.2, [(shaped, side), (shaped_mirrored, side)]),
        ("and the mirror image at 448", 0.2, [(shaped, side), (shaped_mirrored, 448)]),
        ("and the mirror image at 512", 0.2, [(shaped, side), (shaped_mirrored, 512)]))


class DeepLab:
    "DeepLab v3 on MobileNetV2 (Chen et al., 2017, arXiv:1706.05587), built from its weights."
    def __init__(self, path: Path):
        self.weights, self.values = read_layers(path), []

    def convolve(self, before, name: str, limit: float | None = 6, **settings):
        "One convolution with its bias, cut off below 0 and above `limit`; 0: not at all."
        kernel, bias = self.weights[name]
        label = f"deeplab_{name.replace('/', '_')}"
        settings |= dict(padding="same", name=label)
        made = (layers.DepthwiseConv2D(3, **settings) if name.endswith("depthwise") else
                layers.Conv2D(kernel.shape[3], kernel.shape[:2], **settings))
        answer = made(before)
        self.values.append((made, [kernel, bias]))
        return answer if limit == 0 else layers.ReLU(limit, name=f"{label}_relu")(answer)

    def block(self, before, number: int):
        "An inverted residual block (Sandler et al., 2018, arXiv:1801.04381)."
        name = f"expanded_conv_{number}" if number else "expanded_conv"
        state = self.convolve(before, f"{name}/expand") if number else before
        state = self.convolve(state, f"{name}/depthwise",
                              strides=2 if number in (1, 3, 6) else 1,
                              dilation_rate=2 if number > 13 else 1)
        state = self.convolve(state, f"{name}/project", limit=0)
        return layers.Add()([before, state]) if before.shape[-1] == state.shape[-1] else state

    def logits(self, pixels):
        "From RGB in -1 to 1 to 21 classes on the coarse grid."
        state = self.convolve(pixels, "Conv", strides=2)
        for number in range(17): state = self.block(state, number)
        whole = layers.GlobalAveragePooling2D(keepdims=True)(state)
        whole = self.convolve(whole, "image_pooling", limit=None)
        near = self.convolve(state, "aspp0", limit=None)
        # a convolution of both side by side is the sum of one for each
        kernel, bias = self.weights["concat_projection"]
        half = whole.shape[-1]
        self.weights["projection_whole"] = kernel[:, :, :half], bias
        self.weights["projection_near"] = kernel[:, :, half:], 0 * bias
        state = layers.Add()([self.convolve(near, "projection_near", limit=0),
                              self.convolve(whole, "projection_whole", limit=0)])
        return self.convolve(layers.ReLU()(state), "logits/semantic", limit=0)

    def probability(self, image):
        "From RGB 0–255, B×H×W×3, sides multiples of 16, to the probability of a person, B×H×W×1."
        # cells lie 16 pixels apart from border to border, so one pixel more is needed
        pixels = layers.ZeroPadding2D(((0, 1), (0, 1)))(minus_one_to_one(image))
        classes = layers.Softmax(dtype="float32")(self.logits(pixels))
        person = classes[..., person_class:person_class + 1]
        person = layers.UpSampling2D(stride, interpolation="bilinear")(person)
        return layers.Cropping2D(stride // 2)(person)

    def fill(self):
        "Put the weights into the layers."
        for layer, values in self.values:
            layer.set_weights([np.reshape(value, weight.shape)
                               for value, weight in zip(values, layer.weights)])


def networks(deeplab: Path, side: int) -> tuple[keras.Model, keras.Model]:
    "The U-Net and DeepLab, for pictures of that size."
    image, second = keras.Input((side, side, 3), name="image"), DeepLab(deeplab)
    model = keras.Model(image, second.probability(image), name="deeplab")
    second.fill()
    return pretrained_unet(image_size=(side, side)), model


def join(deeplab: Path, side: int, share: float) -> keras.Model:
    "U-Net and DeepLab in one; `share` of the answer is DeepLab's."
    image = keras.Input((side, side, 3), name="image")
    answers = [layers.Rescaling(part)(network(image))
               for network, part in zip(networks(deeplab, side), (1 - share, share))]
    return keras.Model(image, layers.Add()(answers), name="two_opinions")


class Both:
    "Two open networks that are asked like one; `share` of the answer is the second one's."
    def __init__(self, sessions: list, share: float): self.sessions, self.share = sessions, share

    def run(self, outputs: list[str], feeds: dict) -> list[np.ndarray]:
        one, other = (session.run(outputs, feeds)[0] if part else 0
                      for session, part in zip(self.sessions, (1, self.share)))
        return [(1 - self.share) * one + self.share * other]


def compare(options: argparse.Namespace):
    "A row for each share and way to look, measured as compare_looks.py does it."
    each = networks(options.deeplab, 64)
    with tempfile.TemporaryDirectory() as work:
        for network in each:
            export_onnx(network, Path(work) / f"{network.name}.onnx")
        sessions = [open_model(Path(work) / f"{network.name}.onnx")[0] for network in each]
    compare_ways(((dict(looks=name, share=share),
                   Way(SimpleNamespace(session=Both(sessions, share)), looks))
                  for name, share, looks in ways), options.data, options.out)


def export(options: argparse.Namespace):
    "Write both networks as one file, or the U-Net alone; what it was trained on stays in the file."
    alone, known = options.share == 0, open_model(shipped_model())[1]
    facts = {name: known[name] for name in ("trained_on", "samples_seen") if name in known}
    model = pretrained_unet() if alone else join(options.deeplab, side, options.share)
    export_onnx(model, options.out, options.threshold, options.peak, half=True,
                fit="stretch" if alone else "keep shape", version=__version__, licences=licences,
                careful_min_peak_probability=options.careful_peak, share_of_deeplab=options.share,
                **facts)


def main():
    parser = recipe_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, places in (("compare", ("data", "deeplab", "out")), ("export", ("deeplab", "out"))):
        command = commands.add_parser(name)
        for place in places: command.add_argument(place, type=Path)
    for name, value in (("share", 0.2), ("threshold", 0.4), ("peak", 0.8), ("careful-peak", 0.8)):
        commands.choices["export"].add_argument(f"--{name}", type=float, default=value)
    options = parser.parse_args()
    {"compare": compare, "export": export}[options.command](options)


if __name__ == "__main__": main()
