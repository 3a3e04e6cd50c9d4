"""Photos and masks: every odd format, and what may be written."""
import io

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps

from bg_remover.base.errors import ImageError
from bg_remover.images import (composite, read_image, read_mask, resize_image, resize_mask,
                               resize_probability, write_image, write_mask)
from picture_files import encoded

quick = settings(max_examples=30, deadline=None,
                 suppress_health_check=[HealthCheck.function_scoped_fixture])
corners = [(10, 15), (10, 45), (30, 15), (30, 45)]  # a pixel well inside each of the four colours


@pytest.fixture
def photo():
    "Four colours, wider than high, unlike any of its mirror images."
    photo = np.zeros((40, 60, 3), np.uint8)
    photo[:20, :30], photo[:20, 30:] = (220, 30, 30), (30, 220, 30)
    photo[20:, :30], photo[20:, 30:] = (30, 30, 220), (200, 200, 40)
    return photo


def assert_same_colours(result, expected, tolerance):
    assert result.dtype == np.uint8 and result.shape == expected.shape
    difference = np.abs(result.astype(int) - expected.astype(int))
    for corner in corners: assert difference[corner].max() <= tolerance, corner


# --- which way is up, and which colour is which

@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format, options",
                         [("JPEG", dict(quality=100, subsampling=0)), ("PNG", {}),
                          ("WEBP", dict(lossless=True))])
def test_exif_orientation_as_pillow_understands_it(photo, orientation, format, options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo, format, exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    result = read_image(data)
    assert result.shape == expected.shape
    assert np.abs(result.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_decoded_smaller_a_photo_is_turned_and_rgb_all_the_same(photo, factor):
    exif = Image.Exif()
    exif[0x0112] = 6
    large = resize_image(photo, (321, 481))
    result = read_image(encoded(large, "JPEG", exif=exif, quality=95), factor)
    expected = resize_image(np.rot90(large, -1).copy(), (-(-481 // factor), -(-321 // factor)))
    assert result.shape == expected.shape and np.abs(result.astype(int) - expected).mean() < 4


def test_a_photo_is_decoded_smaller_by_a_few_factors_only(photo):
    with pytest.raises(ValueError, match="factor is 3: choose 1, 2, 4 or 8"):
        read_image(encoded(photo, "JPEG"), 3)


def odd_formats():
    "Name → how Pillow stores our photo in it; how far colours may drift."
    half = np.uint8(255) * (np.indices((40, 60))[1] < 30)
    return {
        "jpeg": (lambda p: encoded(p, "JPEG"), 4),
            "progressive jpeg": (lambda p: encoded(p, "JPEG", progressive=True), 4),
        "cmyk jpeg": (lambda p: encoded(Image.fromarray(p).convert("CMYK"), "JPEG"), 4),
        "png": (lambda p: encoded(p, "PNG"), 0),
            "webp": (lambda p: encoded(p, "WEBP", lossless=True), 0),
        "palette png": (lambda p: encoded(Image.fromarray(p).quantize(16), "PNG"), 2),
        "palette gif": (lambda p: encoded(Image.fromarray(p).quantize(16), "GIF"), 2),
        "rgba png": (lambda p: encoded(np.dstack([p, half]), "PNG"), 0),
        "rgba webp": (lambda p: encoded(np.dstack([p, half]), "WEBP", lossless=True, exact=True),
                      0),
        "16-bit png": (lambda p: cv2.imencode(".png",
                                              p[..., ::-1].astype(np.uint16) * 257)[1].tobytes(),
                       0),
        "bmp": (lambda p: encoded(p, "BMP"), 0), "tiff": (lambda p: encoded(p, "TIFF"), 0),
    }


@pytest.mark.parametrize("name", odd_formats())
def test_every_format_becomes_rgb_of_8_bits(photo, name):
    store, tolerance = odd_formats()[name]
    expected = photo.copy()
    # transparent there: on white, whatever colour the file hides
    if "rgba" in name: expected[:, 30:] = 255
    assert_same_colours(read_image(store(photo)), expected, tolerance)


@pytest.mark.parametrize("mode, format", [("L", "JPEG"), ("L", "PNG"), ("LA", "PNG"), ("1", "PNG")])
def test_grey_becomes_three_equal_channels(photo, mode, format):
    grey = Image.fromarray(photo).convert(mode)
    expected = np.asarray(grey.convert("L"))[..., None].repeat(3, axis=2)
    result = read_image(encoded(grey, format))
    assert_same_colours(result, expected, 3)
    assert (result[..., 0] == result[..., 2]).all()


# --- masks

@given(mask=arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30)),
                   elements=st.sampled_from([0, 128, 255])))
@quick
def test_a_mask_comes_back_as_it_was(tmp_path, mask):
    write_mask(tmp_path / "mask.png", mask)
    result = read_mask(tmp_path / "mask.png")
    assert result.dtype == np.uint8 and (result == mask).all()


@pytest.mark.parametrize("mask",
                         [np.ones((4, 4), np.uint8), np.arange(16, dtype=np.uint8).reshape(4, 4)],
                         ids=["zeros and ones", "greys"])
def test_a_mask_of_other_values_is_refused(tmp_path, mask):
    (tmp_path / "mask.png").write_bytes(encoded(mask, "PNG"))
    with pytest.raises(ImageError, match="mask.png: a mask must hold only 0, 128"):
        read_mask(tmp_path / "mask.png")
    with pytest.raises(ImageError, match="a mask is uint8"): write_mask(tmp_path / "new.png", mask)
    assert not (tmp_path / "new.png").exists()


@pytest.mark.parametrize("mask",
                         [np.zeros((4, 4), bool), np.zeros((4, 4), int), np.zeros((4, 4)),
                          np.zeros((4, 4, 1), np.uint8),
                                  np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)],
                         ids=lambda mask: f"{mask.dtype}{mask.shape}")
def test_write_mask_refuses_other_arrays(tmp_path, mask):
    with pytest.raises(ImageError, match="a mask is uint8"): write_mask(tmp_path / "mask.png", mask)
    assert not list(tmp_path.iterdir())


def test_write_mask_refuses_other_formats(tmp_path):
    for name in ("mask.jpg", "mask.webp", "mask"):
        with pytest.raises(ImageError, match="only PNG"):
            write_mask(tmp_path / name, np.zeros((4, 4), np.uint8))


# --- cut-outs

cutouts = arrays(np.uint8, st.tuples(st.integers(1, 8), st.integers(1, 8), st.just(4)))


def mix(cutout, background): # the formula, for every pixel and in whole numbers
    alpha = cutout[..., 3:].astype(int)
    return (2 * (alpha * cutout[..., :3] + (255 - alpha) * np.asarray(background)) + 255) // 510


@given(cutout=cutouts, seed=st.integers(0, 9))
@quick
def test_composite_is_the_formula_rounded(cutout, seed):
    photo = np.random.default_rng(seed).integers(0, 256, (*cutout.shape[:2], 3), dtype=np.uint8)
    before = cutout.copy(), photo.copy()
    for background in (photo, (7, 130, 255), np.float64(photo)):
        assert np.array_equal(composite(cutout, background), mix(cutout, background))
    # one grey for three colours
    assert np.array_equal(composite(cutout, photo[..., :1]), mix(cutout, photo[..., :1]))
    assert np.array_equal(cutout, before[0]) and np.array_equal(photo, before[1])


@given(cutout=cutouts)
@quick
def test_composite_takes_alpha_by_itself(cutout):
    colours, alpha = cutout[..., :3].copy(), cutout[..., 3].copy()
    assert np.array_equal(composite(colours, (90, 0, 200), alpha), composite(cutout, (90, 0, 200)))


# --- writing

@given(image=arrays(np.uint8,
                    st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([3, 4]))),
       suffix=st.sampled_from([".png", ".PNG", ".webp"]))
@quick
def test_what_is_written_lossless_comes_back(tmp_path, image, suffix):
    path = tmp_path / f"ein Photo é 人{suffix}"
    # WebP drops colours that nobody can see
    if suffix == ".webp" and image.shape[2] == 4: image[..., 3] |= 1
    write_image(path, image)
    assert (np.asarray(Image.open(path).convert("RGBA" if image.shape[2] == 4
                                                else "RGB")) == image).all()
    alpha = image[..., 3:] / 255 if image.shape[2] == 4 else 1
    # on white
    assert np.abs(read_image(path) - (image[..., :3] * alpha + 255 * (1 - alpha))).max() <= 0.501


def test_jpeg_keeps_colours_in_order(tmp_path, photo):
    write_image(tmp_path / "photo.jpg", photo)
    assert_same_colours(np.asarray(Image.open(tmp_path / "photo.jpg")), photo, 4)


@pytest.mark.parametrize("image",
                         [np.zeros((4, 4, 3)), np.zeros((4, 4, 3), bool),
                          np.zeros((4, 4), np.uint8), np.zeros((4, 4, 2), np.uint8),
                                   np.zeros((4, 4, 1), np.uint8), np.zeros((0, 4, 3), np.uint8),
                          np.zeros((1, 4, 4, 3), np.uint8)],
                         ids=lambda image: f"{image.dtype}{image.shape}")
def test_write_image_refuses_other_arrays(tmp_path, image):
    with pytest.raises(ImageError, match="photo.png: a photo is uint8"):
        write_image(tmp_path / "photo.png", image)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["cutout.jpg", "cutout.JPEG", "cutout.bmp"])
def test_a_format_without_transparency_refuses_a_cutout(tmp_path, name):
    with pytest.raises(ImageError, match="no transparency"):
        write_image(tmp_path / name, np.zeros((4, 4, 4), np.uint8))


@pytest.mark.parametrize("name", ["photo", "photo.txt", "photo.gif.bak"])
def test_an_unknown_format(tmp_path, photo, name):
    with pytest.raises(ImageError, match="cannot be written in this format"):
        write_image(tmp_path / name, photo)


def test_a_folder_that_is_not_there_is_named(tmp_path, photo):
    with pytest.raises(FileNotFoundError, match="no_such_folder"):
        write_image(tmp_path / "no_such_folder" / "photo.png", photo)


# --- sizes

@given(mask=arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20)),
                   elements=st.sampled_from([0, 128, 255])),
       size=st.tuples(st.integers(1, 40), st.integers(1, 40)))
@quick
def test_resize_mask_takes_the_pixel_under_each_new_centre(mask, size):
    def under(axis, tie):  # a centre on the line between two pixels may take either
        return ((2 * np.arange(size[axis]) + 1) * mask.shape[axis] - tie) // (2 * size[axis])

    result = resize_mask(mask, size)
    allowed = [mask[under(0, row)][:, under(1, column)] for row in (0, 1) for column in (0, 1)]
    assert result.shape == size and np.any([result == one for one in allowed], axis=0).all()


@given(image=arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3))),
       factor=st.integers(1, 5))
@quick
def test_a_photo_shrinks_by_averaging(image, factor):
    big = image.repeat(factor, axis=0).repeat(factor, axis=1)
    assert (resize_image(big, image.shape[:2]) == image).all()


def test_shrinking_skips_no_pixel():
    stripes = np.zeros((8, 80, 3), np.uint8)
    stripes[:, ::8] = 240  # every eighth column: sampling would see all of them, or none
    assert (resize_image(stripes, (1, 10)) == 30).all()
    assert (resize_image(stripes, (20, 10)) == 30).all()  # one side shrinks, the other grows


@given(probability=arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)),
                          elements=st.floats(0, 1, width=32)),
       size=st.tuples(st.integers(1, 20), st.integers(1, 20)))
@quick
def test_a_probability_stays_one(probability, size):
    result = resize_probability(probability, size)
    assert result.shape == size and result.dtype == np.float32
    assert probability.min() - 1e-6 <= result.min() and result.max() <= probability.max() + 1e-6


def test_size_is_height_then_width(photo):
    assert resize_image(photo, (7, 11)).shape == (7, 11, 3)
    assert resize_mask(photo[..., 0],
                       (7, 11)).shape == resize_probability(photo[..., 0] / np.float32(255),
                                                            (7, 11)).shape == (7, 11)
