"""The network: sizes, preprocessing inside, answers, and the one that comes along."""
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import bg_remover.model as module
from bg_remover.base.backbones import BACKBONES, WeightsError
from bg_remover.images import resize_image, resize_probability
from bg_remover.model import build_unet, predict_probability, pretrained_unet

slim = dict(backbone="mobilenetv2", image_size=(64, 64), decoder_filters=(64, 48, 32, 24, 16))
shipped_dir = Path(module.__file__).parent / "weights"


@pytest.fixture(scope="module")
def model(): return build_unet(**slim, encoder_weights=None)


@pytest.fixture(scope="module")
def shipped(): return pretrained_unet()


@pytest.fixture(scope="module")
def photo(): return np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)


def test_the_answer_is_float32_in_mixed_precision_too(model, photo):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = build_unet(**slim | dict(decoder_filters=slim["decoder_filters"][:4]),
                          encoder_weights=None)
    finally: keras.config.set_dtype_policy(before)
    assert half.get_layer("unet").get_layer("decoder_stage0a_conv").compute_dtype == "bfloat16"
    answer = half(resize_image(photo, (64, 64))[None].astype(np.float32))
    assert keras.backend.standardize_dtype(answer.dtype) == "float32"
    # bfloat16 knows 128 numbers from 0.5 to 1
    assert len(np.unique(np.asarray(answer)[0, ::2, ::2])) > 256


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_gives_a_probability_for_each_pixel(backbone):
    model = build_unet(backbone, (64, 96), encoder_weights=None, decoder_filters=(8, 8, 8, 8, 8))
    assert model.input_shape == (None, 64, 96, 3) and model.output_shape == (None, 64, 96, 1)
    assert model.name == f"{backbone}_unet"


def test_preprocessing_sits_inside_the_model(model, photo):
    pixels = np.float32(resize_image(photo, (64, 64)))[None]
    inside = np.asarray(model(pixels))
    by_hand = np.asarray(model.get_layer("unet")(pixels / 127.5 - 1))
    assert np.allclose(inside, by_hand, atol=1e-5)
    assert (0 < inside).all() and (inside < 1).all() and np.ptp(inside) > 0


def test_probability_comes_at_the_images_own_size(model, photo):
    probability = predict_probability(model, photo)
    assert probability.shape == (37, 53) and probability.dtype == np.float32
    assert 0 <= probability.min() <= probability.max() <= 1
    small = resize_image(photo, (64, 64))
    assert np.allclose(predict_probability(model, small),
                       np.asarray(model(np.float32(small)[None]))[0, ..., 0], atol=1e-6)


@pytest.mark.parametrize("bad",
                         [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8),
                          np.zeros((8, 8, 4), np.uint8)])
def test_what_is_no_rgb_photo_is_refused(model, bad):
    with pytest.raises(ValueError, match="give RGB bytes"): predict_probability(model, bad)


@pytest.mark.parametrize("settings, message", [
    (dict(backbone="resnet35"), "unknown backbone 'resnet35'; choose one of resnet18"),
    (dict(image_size=(250, 256)), "multiples of 32"),
                                               (dict(image_size=(256, 0)), "multiples of 32"),
                                               (dict(image_size=(256,)), "multiples of 32"),
    (dict(decoder_filters=(64,)), "two to five numbers"),
                                               (dict(decoder_filters=(64,) * 6), "two to five "
                                                "numbers")])
def test_settings_no_network_can_have(settings, message):
    with pytest.raises(ValueError, match=message): build_unet(encoder_weights=None, **settings)


@pytest.mark.parametrize("filters", [(24, 16, 8, 8), (16, 8, 8)])
def test_a_shorter_decoder_still_answers_at_the_size_of_the_input(filters, photo):
    keras.utils.set_random_seed(0)
    short = build_unet("mobilenetv2", (64, 96), None, filters)
    pixels = resize_image(photo, (64, 96))[None].astype(np.float32)
    answer = np.asarray(short(pixels, training=False))[0, ..., 0]
    coarse = np.asarray(short.get_layer("unet")(pixels / 127.5 - 1, training=False))[0, ..., 0]
    times = 2 ** (5 - len(filters))
    assert answer.shape == (64, 96) and coarse.shape == (64 // times, 96 // times)
    # OpenCV and Keras treat the outermost pixels each in their own way
    inside = answer[times:-times, times:-times]
    np.testing.assert_allclose(inside,
                               resize_probability(coarse, (64, 96))[times:-times, times:-times],
                               atol=1e-5)


def test_the_shipped_network_is_what_its_settings_say(shipped, photo):
    settings = json.loads((shipped_dir / "person.json").read_text())
    assert shipped.name == f"{settings['backbone']}_unet"
    assert list(shipped.input_shape[1:3]) == settings["image_size"]
    assert all(weight.dtype == "float32" and np.isfinite(np.asarray(weight)).all()
               for weight in shipped.weights)
    assert predict_probability(shipped, photo).shape == (37, 53)


def test_the_shipped_network_at_another_size_has_the_same_weights(shipped):
    small = pretrained_unet(image_size=(64, 96))
    assert small.input_shape == (None, 64, 96,
                                 3) and len(small.get_weights()) == len(shipped.get_weights())
    for one, other in zip(small.get_weights(), shipped.get_weights()):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name, spoil, message", [
    ("person.weights.h5", lambda path: path.unlink(), "person.weights.h5: no such file"),
    ("person.weights.h5", lambda path: path.write_bytes(path.read_bytes()[:100_000]),
     "person.weights.h5: damaged"),
    ("person.json", lambda path: path.unlink(), "person.json: no such file"),
    ("person.json", lambda path: path.write_text("{"), "person.json: damaged"),
    ("person.json", lambda path: path.write_text('{"spine": "resnet34"}'), "person.json: damaged"),
    ("person.json",
     lambda path: path.write_text(json.dumps(json.loads(path.read_text())
                                             | dict(decoder_filters=[8] * 5))),
     "person.weights.h5: damaged, or made for another network")])
@pytest.mark.filterwarnings("ignore:Skipping nested container") # Keras, before it raises
def test_a_spoilt_shipped_network_is_named(tmp_path, name, spoil, message):
    for file in ("person.json", "person.weights.h5"): shutil.copy(shipped_dir / file, tmp_path)
    spoil(tmp_path / name)
    with pytest.raises(WeightsError, match=rf"{message}.*install bg_remover again"):
        pretrained_unet(tmp_path)


def test_other_weights_of_the_same_kind_can_take_its_place(tmp_path, model, photo):
    (tmp_path / "person.json").write_text(json.dumps(slim))
    model.save_weights(tmp_path / "person.weights.h5")
    assert np.allclose(predict_probability(pretrained_unet(tmp_path), photo),
                       predict_probability(model, photo), atol=1e-6)
