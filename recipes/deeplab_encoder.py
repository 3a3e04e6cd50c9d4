"""Turn the backbone of a published DeepLab into encoder weights for `build_unet("mobilenetv2",
encoder_weights=ENCODER.h5)`.

    python recipes/deeplab_encoder.py DEEPLAB.tflite ENCODER.h5

DEEPLAB.tflite is deeplabv3_mnv2_pascal_quant.tflite as Google's Coral project publishes it
(Apache-2.0): a MobileNetV2 that has already learnt to segment PASCAL VOC's twenty classes, people
among them. Its weights are bytes with a scale and a zero point (Jacob et al., 2018,
arXiv:1712.05877), and its batch normalisation is folded into them; here they become float32 again.
The folded kernels are small and of very different sizes, so that an optimizer's equal steps would
soon wreck them; each filter is therefore brought to the size that He et al. (2015,
arXiv:1502.01852) start from, and the batch normalisation behind it multiplies by what was taken
out. The U-Net's encoder ends in a layer of 1,280 channels, which DeepLab does not have: its first
256 become DeepLab's own next layer (aspp0), the others start from chance.
"""
import warnings
from pathlib import Path

import h5py
import numpy as np

from arguments import recipe_parser

from bg_remover.model import build_unet
from bg_remover.base.backbones import encoder_layers


def read_float(interpreter, tensor: dict) -> np.ndarray:
    "A quantised tensor as float32."
    quantised = tensor["quantization_parameters"]
    numbers = interpreter.get_tensor(tensor["index"]).astype(np.float64)
    return ((numbers - quantised["zero_points"]) * quantised["scales"]).astype(np.float32)


def read_layers(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kernel (height, width, in, out; depthwise: height, width, in, 1) and bias of each
    convolution, by DeepLab's name for it."""
    import tensorflow as tf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore") # the interpreter will move to a package of its own
        interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    kernels, biases = {}, {} # bytes, and int32 with a scale
    for tensor in interpreter.get_tensor_details():
        # several names are joined; the first is the tensor's own
        name = tensor["name"].partition(";")[0]
        layer = name.removeprefix("MobilenetV2/").rpartition("/")[0].removesuffix("/BatchNorm_Fold")
        if "weights_quant" in tensor["name"]:
            kernels[layer] = read_float(interpreter, tensor).transpose(1, 2, 3, 0)
        elif tensor["dtype"] is np.int32 and len(tensor["quantization_parameters"]["scales"]):
            biases[layer] = read_float(interpreter, tensor)
    return {layer: (kernels[layer], biases[layer]) for layer in kernels if layer in biases}


def deeplab_name(layer: str) -> str:
    "DeepLab's name for a convolution of the U-Net's encoder."
    if layer == "Conv1": return "Conv"
    if layer == "Conv_1": return "aspp0"
    # block_3_expand, and expanded_conv_project without a number
    block, _, part = layer.removeprefix("block_").rpartition("_")
    return f"expanded_conv_{block}/{part}" if block.isdigit() else f"{block}/{part}"


def standardize(kernel: np.ndarray, depthwise: bool) -> tuple[np.ndarray, np.ndarray]:
    "The kernel with each filter at He's deviation, and the factor that was taken out of each."
    filters = kernel.reshape(-1, kernel.shape[2 if depthwise else 3])
    factor = np.sqrt((filters**2).mean(axis=0)) / np.sqrt(2 / len(filters))
    factor[factor == 0] = 1 # a filter that never answers
    return kernel / (factor[:, None] if depthwise else factor), factor


def fill(unet, layers: dict[str, tuple[np.ndarray, np.ndarray]]):
    "Put DeepLab's weights into the encoder of a U-Net."
    chance = np.random.default_rng(0)
    encoder = {layer.name: layer for layer in encoder_layers(unet) if layer.weights}
    for name, layer in encoder.items():
        if "Conv2D" not in type(layer).__name__: continue
        kernel, bias = layers[deeplab_name(name)]
        missing = layer.kernel.shape[-1] - kernel.shape[-1]
        if missing:
            deviation = np.sqrt(2 / np.prod(kernel.shape[:-1])) # He's
            others = chance.normal(0, deviation, (*kernel.shape[:-1], missing))
            kernel = np.concatenate([kernel, others], axis=-1)
            bias = np.concatenate([bias, np.zeros(missing)])
        kernel, factor = standardize(kernel, "Depthwise" in type(layer).__name__)
        layer.set_weights([kernel])
        follows = encoder[{"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}.get(name, f"{name}_BN")]
        # scale, offset, mean, variance
        follows.set_weights([factor, bias, np.zeros_like(bias),
                             np.ones_like(bias) - follows.epsilon])


def save_by_name(unet, path: Path):
    "The encoder's weights in Keras' older format, as `load_encoder` reads it."
    part = path.with_name(f".{path.name}.part")
    with h5py.File(part, "w") as file:
        named = [layer for layer in encoder_layers(unet) if layer.weights]
        file.attrs["layer_names"] = [layer.name.encode() for layer in named]
        for layer in named:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [f"{layer.name}/{weight.name}:0".encode()
                                           for weight in layer.weights]
            for weight in layer.weights: group[f"{layer.name}/{weight.name}:0"] = np.asarray(weight)
    part.replace(path)


if __name__ == "__main__":
    options = recipe_parser(__doc__, "deeplab", "encoder").parse_args()
    unet = build_unet("mobilenetv2", encoder_weights=None).get_layer("unet")
    layers = read_layers(options.deeplab)
    fill(unet, layers)
    save_by_name(unet, options.encoder)
    print(f"{options.encoder}: {len(layers)} convolutions read, the encoder filled")
