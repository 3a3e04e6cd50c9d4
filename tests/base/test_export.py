"""The exported file against Keras, pixel by pixel, and weights as float16."""
import json

import keras
import numpy as np
from bg_remover.base.network import onnxruntime
import pytest

from bg_remover.base.export import export_onnx, save_half_weights
from bg_remover.base.optimizers import warm_cosine
from bg_remover.base.runs import save_weights
from bg_remover.model import build_unet, predict_probability
from tiny_training import decoder, pairs, tiny_run, unet

rng = np.random.default_rng(0)


def opened(path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def answers(session, model, pixels) -> tuple[np.ndarray, np.ndarray]:
    "Probabilities for the same photos: the exported file's, and Keras'."
    exported, = session.run(["probability"], {"image": pixels})
    return exported, keras.ops.convert_to_numpy(model(pixels, training=False))


@pytest.mark.parametrize("half", [False, True])
def test_exported_file_answers_as_keras_does(unet, tmp_path, half):
    export_onnx(unet, tmp_path / "net.onnx", threshold=0.4, half=half, trained_on="squares")
    session = opened(tmp_path / "net.onnx")
    pixels = rng.uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    answer, wanted = answers(session, unet, pixels)
    difference = np.abs(answer - wanted)
    assert difference.mean() < 1e-3 and (half or difference.max() < 1e-3)
    description = json.loads(session.get_modelmeta().custom_metadata_map["bg_remover"])
    assert description["image_size"] == [64, 64] and description["threshold"] == 0.4
    assert description["trained_on"] == "squares"


def test_a_network_trained_in_mixed_precision_is_exported_in_float32(unet, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = build_unet("mobilenetv2", (64, 64), encoder_weights=None, decoder_filters=decoder)
        mixed.set_weights(unet.get_weights())
        export_onnx(mixed, tmp_path / "mixed.onnx")
    finally: keras.config.set_dtype_policy(before)
    pixels = rng.uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    answer, wanted = answers(opened(tmp_path / "mixed.onnx"), unet, pixels)
    assert np.abs(answer - wanted).max() < 1e-3


def test_a_network_that_was_just_trained_is_exported(pairs, tmp_path):
    net = tiny_run(pairs, tmp_path / "run", 1, learning_rate=warm_cosine(1e-2, 3))[0]
    export_onnx(net, tmp_path / "net.onnx")
    pixels = rng.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    answer, wanted = answers(opened(tmp_path / "net.onnx"), net, pixels)
    assert np.abs(answer - wanted).max() < 1e-3


def test_a_network_with_an_operation_in_front_is_exported(unet, tmp_path):
    image = keras.Input(unet.input_shape[1:], name="image")
    export_onnx(keras.Model(image, unet(keras.ops.flip(image, axis=-1))), tmp_path / "flipped.onnx")
    pixels = rng.uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    flipped = lambda pixels, **how: unet(pixels[..., ::-1], **how)
    answer, wanted = answers(opened(tmp_path / "flipped.onnx"), flipped, pixels)
    assert np.abs(answer - wanted).max() < 1e-3


def test_exported_network_enlarges_in_the_words_of_the_runtime(unet, tmp_path):
    "Not by repeating rows and columns, for which the runtime has no fast way."
    import onnx
    export_onnx(unet, tmp_path / "net.onnx")
    nodes = onnx.load(tmp_path / "net.onnx").graph.node
    assert "Tile" not in {node.op_type for node in nodes}
    assert sum(node.op_type == "Resize"
               and b"asymmetric" in [attribute.s for attribute in node.attribute]
               for node in nodes) == len(decoder)


def test_half_weights_load_back(unet, tmp_path):
    full, half = tmp_path / "full.weights.h5", tmp_path / "half.weights.h5"
    save_weights(unet, full)
    save_half_weights(unet, half)
    assert half.stat().st_size < 0.65 * full.stat().st_size
    again = build_unet("mobilenetv2", (64, 64), encoder_weights=None, decoder_filters=decoder)
    again.load_weights(half)
    image = rng.integers(0, 255, (50, 70, 3), np.uint8)
    assert np.abs(predict_probability(again, image) - predict_probability(unet, image)).max() < 1e-3
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture(scope="module")
def wide_network() -> keras.Model:
    "A network whose batch normalisation has seen numbers that float16 cannot hold."
    image = keras.Input((8, 8, 3))
    planes = keras.layers.Conv2D(64, 1)(image)
    normalized = keras.layers.BatchNormalization()
    answer = keras.layers.Conv2D(1, 1, activation="sigmoid")(normalized(keras.ops.relu(planes)))
    model = keras.Model(image, answer)
    normalized.moving_variance.assign(np.float32([1e5, 1] * 32))
    normalized.moving_mean.assign(np.float32([1e5, 0] * 32))
    return model


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_numbers_too_large_for_half_are_exported_whole(wide_network, tmp_path):
    export_onnx(wide_network, tmp_path / "net.onnx", half=True)
    pixels = rng.uniform(0, 255, (1, 8, 8, 3)).astype("float32")
    answer, wanted = answers(opened(tmp_path / "net.onnx"), wide_network, pixels)
    assert np.abs(answer - wanted).max() < 0.01


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_numbers_too_large_for_half_are_saved_whole(wide_network, tmp_path):
    pixels = rng.uniform(0, 255, (1, 8, 8, 3)).astype("float32")
    wanted = keras.ops.convert_to_numpy(wide_network(pixels))
    save_half_weights(wide_network, tmp_path / "half.weights.h5")
    again = keras.models.clone_model(wide_network)
    again.load_weights(tmp_path / "half.weights.h5")
    assert np.abs(keras.ops.convert_to_numpy(again(pixels)) - wanted).max() < 0.01


@pytest.mark.parametrize("backbone", ["mobilenetv2", "resnet18"])
def test_one_file_answers_at_any_size_as_a_network_built_for_it(backbone, tmp_path):
    small, large = (build_unet(backbone, (side, 2 * side), None, decoder) for side in (32, 64))
    large.set_weights(small.get_weights())
    export_onnx(small, tmp_path / "net.onnx")
    session = opened(tmp_path / "net.onnx")
    assert session.get_inputs()[0].shape[1:] == ["height", "width", 3]
    for model in (small, large):
        pixels = rng.uniform(0, 255, (2, *model.input_shape[1:])).astype("float32")
        answer, wanted = answers(session, model, pixels)
        assert answer.shape == wanted.shape and np.abs(answer - wanted).max() < 1e-3


def test_a_network_that_needs_its_size_keeps_it(tmp_path):
    image = keras.Input((32, 32, 3))
    smaller = keras.layers.Conv2D(1, 3, strides=2, padding="same", activation="sigmoid")(image)
    answer = keras.layers.Resizing(32, 32, interpolation="bilinear")(smaller)
    export_onnx(keras.Model(image, answer), tmp_path / "net.onnx")
    session = opened(tmp_path / "net.onnx")
    sides = session.get_inputs()[0].shape[1:3]
    assert sides == [32, 32] or session.run(
        None, {"image": np.zeros((1, 64, 64, 3), np.float32)})[0].shape == (1, 64, 64, 1)
