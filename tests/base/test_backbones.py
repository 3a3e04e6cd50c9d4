"""Every backbone, every file of weights that can go wrong, and what freezing leaves alone."""
import ast
import shutil
import socket
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import bg_remover.base.backbones as module
from bg_remover.base.backbones import (BACKBONES, BatchNormalization, WeightsError, encoder_layers,
                                       freeze_encoder, load_encoder, segmentation_models)
from bg_remover.model import build_unet

slim = dict(backbone="mobilenetv2", image_size=(64, 64), decoder_filters=(64, 48, 32, 24, 16))
mobilenet_file = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


@pytest.fixture(scope="module")
def model(): return build_unet(**slim, encoder_weights=None)


@pytest.fixture(scope="module")
def other():
    "A second network, for weights to be loaded into."
    return build_unet(**slim, encoder_weights=None)


@pytest.fixture(scope="module")
def encoder_file(model, tmp_path_factory):
    """The encoder's weights, all 0.25 larger than the model's, in Keras' older format, written
    by hand."""
    path = tmp_path_factory.mktemp("weights") / "encoder.h5"
    with h5py.File(path, "w") as file:
        layers = [layer for layer in encoder_layers(model.get_layer("unet")) if layer.weights]
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [weight.path.encode() for weight in layer.weights]
            for weight in layer.weights: group[weight.path] = np.asarray(weight) + 0.25
    return path


def values(layers): return [np.asarray(weight) for layer in layers for weight in layer.weights]
def encoder(model): return values(encoder_layers(model.get_layer("unet")))


def trained_once(layer, pixels):
    """Answer, gradients and weights of a batch normalisation after one step of training; mean
    and deviation of the start are not 0 and 1."""
    layer.build(pixels.shape)
    for number, weight in enumerate(layer.weights):
        weight.assign(np.linspace(0.5, 1.5, 3) + number / 8)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        answer = layer(pixels, training=True)
        wave = tf.reduce_sum(tf.sin(answer))
    return [answer,
            *tape.gradient(wave, [pixels, *(weight.value for weight in layer.trainable_weights)]),
            *(weight.value for weight in layer.weights)]


@pytest.mark.parametrize("parts",
                         [dict(), dict(scale=False), dict(center=False),
                          dict(momentum=0.5, epsilon=0.1)], ids=str)
@pytest.mark.parametrize("shape", [(4, 6, 5, 3), (1, 1, 2, 3)], ids=str)
def test_batch_normalization_in_one_operation_is_that_of_keras(parts, shape):
    pixels = tf.constant(np.random.default_rng(0).normal(3, 2, shape).astype("float32"))
    ours, theirs = (trained_once(kind(**parts), pixels)
                    for kind in (BatchNormalization, keras.layers.BatchNormalization))
    for one, other in zip(ours, theirs):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_batch_normalization_in_one_operation_keeps_its_averages_in_float32_under_mixed_precision():
    pixels = tf.cast(np.random.default_rng(0).normal(3, 2, (4, 16, 15, 3)), "bfloat16")
    ours, theirs = (trained_once(kind(dtype="mixed_bfloat16"), pixels)
                    for kind in (BatchNormalization, keras.layers.BatchNormalization))
    for one, other in zip(ours, theirs):
        assert one.dtype == other.dtype
        exact = one.dtype == "float32" and one.shape == (3,)
        np.testing.assert_allclose(tf.cast(one, "float32"), tf.cast(other, "float32"),
                                   rtol=1e-3 if exact else 2e-2, atol=1e-2)


def test_every_batch_normalization_of_a_unet_is_ours_and_frozen_ones_keep_their_averages(model):
    layers = [layer for layer in model.get_layer("unet").layers
              if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(layers) > 50 and {type(layer) for layer in layers} == {BatchNormalization}
    layer = BatchNormalization(trainable=False)
    pixels = np.random.default_rng(0).normal(3, 2, (2, 4, 4, 3)).astype("float32")
    np.testing.assert_allclose(layer(pixels, training=True), pixels / np.sqrt(1.001), rtol=1e-5)
    assert (np.asarray(layer.moving_mean) == 0).all()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_preprocessing_is_what_the_encoder_was_trained_on(backbone):
    pixels = np.random.default_rng(1).integers(0, 256, (2, 8, 9, 3)).astype("float32")
    expected = segmentation_models().get_preprocessing(backbone)(pixels.copy())
    assert np.allclose(BACKBONES[backbone].preprocess(keras.ops.convert_to_tensor(pixels)),
                       expected, atol=1e-4)


def test_nothing_in_the_module_needs_tensorflow(monkeypatch):
    tree = ast.parse(Path(module.__file__).read_text()).body
    imports = [alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names]
    assert "keras" in imports and "tensorflow" not in imports
    noise = np.random.default_rng(0).normal(3, 2, (2, 4, 4, 3))
    layer, pixels = BatchNormalization(), keras.ops.convert_to_tensor(noise, "float32")
    layer.build(pixels.shape)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setitem(sys.modules, "tensorflow", None) # from here on its import fails
    assert np.abs(np.asarray(layer.call(pixels, training=True)).mean((0, 1, 2))).max() < 1e-4


def test_a_file_of_weights_reaches_every_layer_of_the_encoder(model, encoder_file):
    loaded = build_unet(**slim, encoder_weights=encoder_file)
    assert len(encoder(loaded)) == len(encoder(model)) > 200
    assert all(np.allclose(new, old + 0.25, atol=1e-6)
               for new, old in zip(encoder(loaded), encoder(model)))
    decoder = [layer for layer in loaded.get_layer("unet").layers
               if layer.name.startswith("decoder")]
    # untouched
    assert all(abs(kernel.mean()) < 0.1 for kernel in values(decoder) if kernel.ndim == 4)


def damage(path, kind):
    "Spoil a copy of an encoder's file."
    if kind == "truncated": path.write_bytes(path.read_bytes()[:-5000])
    if kind == "text": path.write_text("<html>404</html>")
    if kind == "empty": path.write_bytes(b"")
    with h5py.File(path, "a") if kind in ("foreign", "incomplete", "shape") else open(path,
                                                                                      "rb") as file:
        if kind == "foreign":
            for name in list(file): file.move(name, f"other_{name}")
        if kind == "incomplete": del file["Conv1"]
        if kind == "shape":
            name = file["Conv1"].attrs["weight_names"][0]
            del file["Conv1"][name]
            file["Conv1"][name] = np.zeros((5, 5, 3, 32), np.float32)


@pytest.mark.parametrize("kind, message",
                         [("truncated", "damaged"), ("text", "damaged"), ("empty", "damaged"),
                          ("foreign", "it holds 0 of the encoder's 104 layers"),
                                           ("incomplete",
                                            "it holds 103 of the encoder's 104 layers"),
                          ("shape", "another network")])
def test_a_file_that_does_not_fit_is_named(other, encoder_file, tmp_path, kind, message):
    path = shutil.copy(encoder_file, tmp_path / "spoilt.h5")
    damage(path, kind)
    with pytest.raises(WeightsError, match=rf"spoilt\.h5: .*{message}.*give another file"):
        load_encoder(other.get_layer("unet"), path)


def test_files_that_are_not_there_or_of_the_newer_format(other, tmp_path):
    with pytest.raises(WeightsError, match="nowhere.h5: no such file"):
        load_encoder(other.get_layer("unet"), tmp_path / "nowhere.h5")
    other.save_weights(tmp_path / "whole.weights.h5")
    with pytest.raises(WeightsError, match="it holds 0 of the encoder's 104 layers"):
        load_encoder(other.get_layer("unet"), tmp_path / "whole.weights.h5")


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    "An empty folder for Keras' downloads, and a machine that knows no address."
    def unknown(*address, **settings): raise socket.gaierror("name resolution failed")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy",
                 "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "models").mkdir(parents=True)
    return tmp_path / "home" / "models"


def test_imagenet_takes_the_file_that_lies_in_keras_folder(model, encoder_file, no_network):
    shutil.copy(encoder_file, no_network / mobilenet_file)
    loaded = build_unet(**slim, encoder_weights="imagenet")
    assert all(np.allclose(new, old + 0.25, atol=1e-6)
               for new, old in zip(encoder(loaded), encoder(model)))


@pytest.mark.parametrize("damaged", [False, True])
def test_without_network_the_message_says_which_file_belongs_where(no_network, damaged):
    name = "resnet34_imagenet_1000_no_top.h5"
    if damaged: (no_network / name).write_bytes(b"not what it should be")
    with pytest.raises(WeightsError) as error: build_unet("resnet34", (64, 64))
    for part in (name, f"put it into {no_network}", "8caaa0ad39d927cb8ba5385bf945d582",
                 "releases/download/0.0.1/" + name, "None"):
        assert part in str(error.value)


def test_a_damaged_download_without_checksum_is_found_too(no_network):
    (no_network / mobilenet_file).write_bytes(b"half a file")
    with pytest.raises(WeightsError, match=f"{mobilenet_file}: damaged.*remove it and download it "
                       "again"):
        build_unet(**slim)


def test_addresses_and_checksums_are_the_libraries_own():
    import efficientnet.model
    import keras_applications as applications
    from classification_models.weights import WEIGHTS_COLLECTION
    theirs = {one["url"]: one["md5"] for one in WEIGHTS_COLLECTION}
    efficientnet_file = ("efficientnet-b0_weights_tf_dim_ordering_tf_kernels_autoaugment"
                         "_notop.h5")
    theirs |= {applications.mobilenet.BASE_WEIGHT_PATH + "mobilenet_1_0_224_tf_no_top.h5": None,
               applications.mobilenet_v2.BASE_WEIGHT_PATH + mobilenet_file: None,
               # theirs stands inside a function
               applications.vgg16.WEIGHTS_PATH_NO_TOP: BACKBONES["vgg16"].checksum,
               efficientnet.model.BASE_WEIGHTS_PATH + efficientnet_file:
                   efficientnet.model.WEIGHTS_HASHES["efficientnet-b0"][1]}
    for backbone in BACKBONES.values(): assert theirs[backbone.url] == backbone.checksum


def test_freezing_leaves_the_encoder_alone_and_thawing_its_normalisation():
    model = freeze_encoder(build_unet(**slim, encoder_weights=None))
    unet = model.get_layer("unet")
    last = unet.get_layer("final_conv")
    encoder_before, last_before = encoder(model), np.asarray(last.kernel)
    model.compile("sgd", loss="binary_crossentropy", run_eagerly=True)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3))
    model.train_on_batch(pixels, np.ones((2, 64, 64, 1)))
    # statistics of normalisation too
    assert all((new == old).all() for new, old in zip(encoder(model), encoder_before))
    assert (np.asarray(last.kernel) != last_before).any()

    freeze_encoder(model, fraction=0)
    for layer in encoder_layers(unet):
        normalizes = isinstance(layer, keras.layers.BatchNormalization)
        learns = bool(layer.weights) and not normalizes
        assert bool(layer.trainable_weights) == learns, layer.name
    assert unet.get_layer("decoder_stage0a_bn").trainable_weights


def test_a_fraction_freezes_the_layers_next_to_the_photo():
    model = freeze_encoder(build_unet(**slim, encoder_weights=None), fraction=0.4)
    unet = model.get_layer("unet")
    assert not unet.get_layer("block_6_expand").trainable_weights
    assert unet.get_layer("block_7_expand").trainable_weights
    assert not unet.get_layer("block_7_expand_BN").trainable_weights


def test_vgg16_has_a_centre_that_is_no_part_of_the_encoder():
    unet = build_unet("vgg16", (64, 64), encoder_weights=None).get_layer("unet")
    assert {layer.name for layer in encoder_layers(unet)
            if layer.weights} == {f"block{block}_conv{conv}" for block in range(1, 6)
                                  for conv in range(1, 3 + (block > 2))}
