"""Looks: which copy of a photo a network sees, and the mean of two."""
import pickle

import cv2
import numpy as np
import pytest

from bg_remover.base.looks import Look, choose_looks, look_size, mean_look
from bg_remover.base.network import min_peak, open_model, shipped_model
from bg_remover.removal import Remover


def test_the_mean_of_two_looks_turns_the_mirror_image_back():
    sizes = {Look(): (8, 16), Look(mirrored=True): (8, 16),
             Look(mirrored=True, keeps_shape=True): (12, 24)}
    def see(image, look): # darkness, and where from the left it is
        assert image.flags.c_contiguous
        height, width = sizes[look]
        dark = cv2.resize(image[..., 0], (width, height), interpolation=cv2.INTER_AREA)
        return dark / np.float32(255) * np.linspace(0, 1, width, dtype=np.float32)
    image = np.full((20, 40, 3), 255, np.uint8)
    assert np.array_equal(mean_look(see, image, [Look()]), see(image, Look()))
    for second in (Look(mirrored=True), Look(mirrored=True, keeps_shape=True)):
        mean = mean_look(see, image, [Look(), second])
        assert mean.shape == sizes[second]
        assert np.allclose(mean, 0.5, atol=0.02) # left and right in balance


def test_a_careful_network_looks_twice_and_may_ask_for_a_lower_peak():
    session, description = open_model(shipped_model())
    usual, again = Look(keeps_shape=True), Look(mirrored=True, keeps_shape=True, scale=7 / 6)
    assert choose_looks(session, description, False) == [usual]
    assert choose_looks(session, description, True) == [usual, again]
    stretched = description | dict(fit="stretch") # as in the lessons
    assert choose_looks(session, stretched, False) == [Look()]
    assert choose_looks(session, stretched, True) == [Look(), again]
    of_others = [Look(), Look(mirrored=True)] # they take one size only
    assert choose_looks(object(), stretched, True) == of_others
    assert 0 < min_peak(description, True) <= min_peak(description, False) < 1
    assert min_peak(dict(min_peak_probability=0.3, careful_min_peak_probability=0.2), True) == 0.2
    assert min_peak(dict(min_peak_probability=0.3), True) == 0.3


@pytest.mark.parametrize("photo, seen", [((480, 640), (352, 480)), ((640, 480), (480, 352)),
                                         ((500, 500), (416, 416)), ((100, 900), (288, 576)),
                                         ((3, 3), (416, 416))])
def test_a_look_in_the_photos_shape_has_sides_that_the_network_takes(photo, seen):
    assert look_size(Look(), (416, 416), photo) == (416, 416)
    assert look_size(Look(True, True), (416, 416), photo) == seen
    assert all(side % 32 == 0 for side in seen)
    area = np.prod(look_size(Look(True, True, 1.5), (416, 416), photo))
    assert 1.9 < area / np.prod(seen) < 2.6
    tiny = look_size(Look(True, True), (32, 32), photo)
    assert all(side and side % 32 == 0 for side in tiny)


def test_careful_cutouts_differ_and_stay_close():
    photo = np.zeros((96, 96, 3), np.uint8)
    photo[24:, 32:64] = (200, 160, 140)
    usual, careful = Remover(), Remover(careful=True)
    one, other = usual.probability(photo), careful.probability(photo)
    assert one.shape == other.shape == (96, 96) and 0 <= other.min() and other.max() <= 1
    assert 0 < np.abs(other - one).mean() < 0.1
    again = pickle.loads(pickle.dumps(careful))
    assert np.array_equal(again.probability(photo), other)
