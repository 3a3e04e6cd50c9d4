"""A training of a second: ten photos of a bright square, a network of two convolutions, a slim
U-Net. Several tests share them."""
from pathlib import Path

import keras
import numpy as np
import pytest

from bg_remover.generator import Pairs, batches
from bg_remover.images import write_image, write_mask
from bg_remover.model import build_unet
from bg_remover.training import train

decoder = (16, 16, 8, 8, 8)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    "Ten photos of a bright square somewhere on noise: a folder with frames and masks."
    folder, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    for part in ("frames", "masks"): (folder / part).mkdir()
    for number in range(10):
        mask = np.zeros((40, 48), np.uint8)
        top, left = rng.integers(0, 20, 2)
        mask[top:top + 16, left:left + 16] = 255
        frame = rng.integers(0, 60, (40, 48, 3), np.uint8) + mask[..., None] // 2
        write_image(folder / "frames" / f"{number}.png", frame)
        write_mask(folder / "masks" / f"{number}.png", mask)
    return folder


@pytest.fixture(scope="module")
def unet() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_unet("mobilenetv2", (64, 64), encoder_weights=None, decoder_filters=decoder)


def tiny_net() -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential([
        keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255),
                             keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
        keras.layers.BatchNormalization(),
                             keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")],
                            name="tiny")


def tiny_run(folder, run_dir, epochs, augment=None, net=None, **settings):
    "Train the tiny net on the pairs in `folder`; returns net and history."
    pairs = Pairs(folder / "frames", folder / "masks")
    net = net or tiny_net()
    stream = batches(pairs, (32, 32), batch_size=4, shuffle=True, seed=5, augment=augment)
    return net, train(net, stream, batches(pairs, (32, 32), batch_size=4), run_dir, epochs,
                      verbose=0, **dict(learning_rate=1e-2) | settings)
