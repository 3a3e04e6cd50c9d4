"""The parts of the recipes for the next network that need no downloads and no long training."""
import keras
import numpy as np

from person_network import build_decoder


def test_the_decoder_takes_the_maps_of_any_encoder():
    image = keras.Input((64, 64, 3))
    maps, state = [], image
    for filters in (4, 8, 12): # strides 2, 4 and 8
        state = keras.layers.Conv2D(filters, 3, strides=2, padding="same")(state)
        maps.append(state)
    # no power of two: what comes from below is resized
    other = keras.layers.Conv2D(3, 3, strides=3, padding="same")(image)
    again = keras.layers.Conv2D(5, 1)(maps[1])
    model = keras.Model(image, build_decoder([[maps[2]], [maps[1], again], [other]], (8, 4)))
    assert model(np.zeros((2, 64, 64, 3), np.float32)).shape == (2, 22, 22, 4)
