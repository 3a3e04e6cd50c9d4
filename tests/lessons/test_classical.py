"""Classical methods on photos drawn for them, and on photos with nothing to find."""
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bg_remover.classical import (grabcut_mask, growth, kmeans_mask, region_growing_mask,
                                  threshold_mask)
from bg_remover.images import read_image, resize_image
from bg_remover.metrics import iou

samples = Path(__file__).resolve().parents[2] / "nbs" / "samples" / "mini_coco"

methods = {"fixed": lambda image: threshold_mask(image, 128), "Otsu": threshold_mask,
           "k-means": kmeans_mask,
           "growing": region_growing_mask, "GrabCut": grabcut_mask}
every_method = pytest.mark.parametrize("method", methods.values(), ids=methods.keys())


def disc(person=(240, 220, 200), background=(20, 40, 60), noise=6, size=(72, 96)):
    "A disc in the middle, a little noisy, and where it is."
    truth = np.zeros(size, np.uint8)
    cv2.circle(truth, (size[1] // 2, size[0] // 2), size[0] // 3, 1, -1)
    clean = np.where(truth[..., None] == 1, np.array(person), np.array(background))
    noisy = clean + np.random.default_rng(0).normal(0, noise, clean.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), truth.astype(bool)


@every_method
@pytest.mark.parametrize("colours", [dict(), dict(person=(20, 40, 60), background=(240, 220, 200))],
                         ids=["bright", "dark"])
def test_a_disc_is_found_bright_on_dark_and_dark_on_bright(method, colours):
    image, truth = disc(**colours)
    before = image.copy()
    mask = method(image)
    assert mask.dtype == bool and mask.shape == truth.shape
    assert iou(mask, truth) > 0.95
    assert (image == before).all()


@pytest.mark.parametrize("method", [kmeans_mask, region_growing_mask, grabcut_mask])
def test_colour_alone_is_enough_for_those_who_see_it(method):
    # nearly the same grey
    image, truth = disc(person=(200, 60, 60), background=(60, 122, 60), noise=3)
    assert iou(method(image), truth) > 0.95
    assert iou(threshold_mask(image, 128), truth) < 0.5


@every_method
def test_the_same_photo_gives_the_same_mask_whatever_came_before(method):
    photo = resize_image(read_image(samples / "val2017" / "000000005001.jpg"), (120, 160))
    found = []
    for seed in (1, 78, 155, 232):
        cv2.setRNGSeed(seed)
        found.append(method(photo).tobytes())
    assert len(set(found)) == 1


@pytest.mark.parametrize("method",
                         [methods[name] for name in ("fixed", "Otsu", "k-means", "GrabCut")])
@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_flat_photo_holds_nobody(method, value):
    assert not method(np.full((40, 50, 3), value, np.uint8)).any()


def test_growing_takes_all_of_a_flat_photo():
    assert region_growing_mask(np.full((20, 30, 3), 77, np.uint8)).all()


@every_method
@given(image=arrays(np.uint8, st.tuples(st.integers(1, 8), st.integers(1, 8), st.just(3))))
@settings(max_examples=25, deadline=None)
def test_any_photo_down_to_one_pixel_gives_a_mask(method, image):
    mask = method(image)
    assert mask.dtype == bool and mask.shape == image.shape[:2]


def test_otsu_finds_the_cut_that_a_fixed_value_misses():
    image, truth = disc(person=(90, 90, 90), background=(30, 30, 30), noise=4)
    assert iou(threshold_mask(image), truth) > 0.95
    assert not threshold_mask(image, 128).any()


def test_otsu_on_every_grey_value():
    grey = disc()[0][..., 0]
    counts = np.bincount(grey.ravel(), minlength=256) / grey.size
    values = np.arange(256)

    def spread(side):
        "How far the greys of one side scatter, times their share."
        if not counts[side].any(): return 0
        mean = np.average(values[side], weights=counts[side])
        variance = np.average((values[side] - mean) ** 2, weights=counts[side])
        return counts[side].sum() * variance

    best = min(range(256), key=lambda cut: spread(values <= cut) + spread(values > cut))
    assert (threshold_mask(grey[..., None].repeat(3, axis=2)) == (grey > best)).all()


def test_region_growing_is_the_connected_part_of_fitting_colours():
    image = np.full((30, 60, 3), 20, np.uint8)
    image[5:25, 5:25] = image[5:25, 35:55] = 220  # two equal squares that do not touch
    mask = region_growing_mask(image, seed=(15, 15))
    fits = image[..., 0] == 220
    components = cv2.connectedComponents(fits.astype(np.uint8), connectivity=4)[1]
    # the median filter rounds the corners
    assert iou(mask, components == components[15, 15]) > 0.95
    assert not mask[:, 30:].any()
    assert not region_growing_mask(image)[15, 15]  # from the middle, which lies between the squares


def test_growth_starts_at_the_seed_and_adds_neighbours_only():
    image, _ = disc()
    steps = list(growth(image, seed=(36, 40)))
    assert steps[0].sum() == 1 and steps[0][36, 40]
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    for before, after in zip(steps, steps[1:]):
        assert (after & before == before).all() and after.sum() > before.sum()
        assert not (after & (cv2.dilate(before.astype(np.uint8), cross) == 0)).any()


def test_a_wider_tolerance_never_loses_a_pixel():
    image = cv2.GaussianBlur(np.random.default_rng(2).integers(0, 256, (40, 50, 3), dtype=np.uint8),
                             (0, 0), 4)
    narrow, wide = (region_growing_mask(image, tolerance=tolerance) for tolerance in (5, 15))
    assert (narrow & wide == narrow).all() and wide.sum() > narrow.sum()


def test_grabcut_stays_inside_its_rectangle():
    image = np.full((60, 90, 3), (30, 60, 30), np.uint8)
    image[15:45, 10:35], image[15:45, 55:80] = (220, 40, 40), (40, 40, 220)
    image = np.clip(image + np.random.default_rng(0).normal(0, 4, image.shape), 0,
                    255).astype(np.uint8)
    left = np.zeros((60, 90), bool)
    left[15:45, 10:35] = True
    assert iou(grabcut_mask(image, rectangle=(5, 5, 55, 42)), left) > 0.95


@pytest.mark.parametrize("rectangle", [(0, 0, 72, 96), (-5, -5, 100, 100)])
def test_grabcut_needs_some_background(rectangle):
    with pytest.raises(ValueError, match="whole photo"): grabcut_mask(disc()[0], rectangle)
