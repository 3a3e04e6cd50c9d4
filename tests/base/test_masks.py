"""Masks of any tool: the person is found, or the file is refused by name with its values; never
silently nobody."""
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from bg_remover.base.errors import ImageError
from bg_remover.base.decoding import NamedBytes
from bg_remover.base.masks import check_fractions, read_any_mask
from bg_remover.metrics import score_masks
from picture_files import chunk

person = np.zeros((60, 80), np.uint8)
person[10:50, 20:60] = 1
colours = np.random.default_rng(0).integers(0, 256, 768, np.uint8)
colours[:3] = 0


def stored(pixels: np.ndarray, form: str = "PNG", palette: np.ndarray | None = None,
           **options) -> NamedBytes:
    "A file's bytes, under a name."
    image, file = Image.fromarray(pixels) if palette is None else Image.fromarray(pixels,
                                                                                  "P"), io.BytesIO()
    if palette is not None: image.putpalette(palette.tolist())
    image.save(file, form, **options)
    return NamedBytes(file.getvalue(), "mine/masks/cat.png")


def rgba(colour: int, alpha: np.ndarray) -> np.ndarray:
    return np.dstack([np.full((*alpha.shape, 3), colour, np.uint8), alpha])


def grey_alpha(values: np.ndarray, alpha: int | np.ndarray) -> np.ndarray:
    return np.dstack([values] * 3 + [np.full_like(values, alpha)])


first = np.full((60, 80), 255, np.uint8)
first[0, 0] = 254
square = np.ones((21, 21), np.uint8)
ring = (cv2.dilate(person, square) - cv2.erode(person, square)) > 0 # larger than what is inside
car = 15 * person
car[40:55, 2:12] = 7
border = 15 * person
border[10:12, 20:60] = 255
readable = {
    "white": stored(255 * person), "ones": stored(person), "a bit": stored(person.astype(bool)),
            "a class": stored(15 * person),
    "a dark class and a border": stored(border), "16 bit": stored(person.astype(np.uint16) * 65535),
    "16 bit, small values": stored(person.astype(np.uint16) * 255),
            "16 bit, ones": stored(person.astype(np.uint16)),
    "palette 1": stored(person, palette=colours),
            "palette 15": stored(15 * person, palette=colours),
    "palette with border": stored(border, palette=colours),
            "palette GIF": stored(15 * person, "GIF", palette=colours),
    "palette of greys": stored(person,
                               palette=np.repeat(np.r_[0, 255, np.zeros(254)], 3).astype(np.uint8)),
    "red": stored(person[..., None] * np.uint8([200, 0, 0])),
            "blue": stored(person[..., None] * np.uint8([0, 0, 255])),
    "black on transparent": stored(rgba(0, 255 * person)),
            "white on transparent": stored(rgba(255, 255 * person)),
    "JPEG": stored(255 * person, "JPEG", quality=60),
            "colour JPEG": stored(np.repeat(255 * person[..., None], 3, 2), "JPEG", quality=60),
    "white, and alpha that nothing filled in": stored(grey_alpha(255 * person, 0)),
    "white, and alpha of 254": stored(grey_alpha(255 * person, 254)),
    "white, and one pixel of 254": stored(grey_alpha(255 * person, first)),
    "fractions": stored(np.float32(person), "TIFF"),
    "floats": stored(np.float32(255 * person), "TIFF"),
    "soft fractions": stored(cv2.GaussianBlur(np.float32(person), (0, 0), 2), "TIFF"),
    "32 bit": stored(np.int32(person), "TIFF"),
    "254": stored(254 * person),
    "soft": stored(cv2.GaussianBlur(255 * person, (0, 0), 2)),
}


@pytest.mark.parametrize("kind", readable)
def test_the_person_is_found(kind):
    found = read_any_mask(readable[kind])
    assert set(np.unique(found)) <= {0, 128, 255}
    wrong = (found == 255) != (person == 1)
    if "border" in kind: wrong[10:12] = False # ignored there
    assert wrong.sum() <= (40 if kind in ("soft", "soft fractions", "JPEG", "colour JPEG") else 0)


def test_a_border_is_ignored():
    assert (read_any_mask(readable["palette with border"])[10:12, 20:60] == 128).all()


@pytest.mark.parametrize("unknown", [100, 127, 128, 129, 150])
def test_what_a_trimap_does_not_know_is_ignored(unknown):
    found = read_any_mask(stored(np.where(ring, np.uint8(unknown), 255 * person)))
    assert (found[ring] == 128).all() and ((found == 255) == (person == 1))[~ring].all()


def test_a_clear_photo_is_nobody():
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 4), np.uint8)
    photo[..., 3] = 0
    assert not read_any_mask(stored(photo)).any()


@pytest.mark.parametrize("cut", [60, 120, -30])
def test_a_damaged_palette_is_named(cut):
    noise = np.random.default_rng(0).integers(0, 2, (60, 80), np.uint8)
    damaged = stored(noise, palette=colours)[:cut]
    with pytest.raises(ImageError, match="^cat.png: "):
        read_any_mask(NamedBytes(damaged, "cat.png"))


refused = {
    "255 on 1": (stored(254 * person + np.uint8(1)), "1, 255;"),
    "a wide ring of 200": (stored(np.where(ring, np.uint8(200), 255 * person)), "0, 200, 255;"),
    "255 on 10": (stored(245 * person + np.uint8(10)), "10, 255;"),
    "many numbers": (stored(np.int32(person) * 1000, "TIFF"), "values from 0 to 1000"),
    "no number": (stored(np.float32(person) * np.nan, "TIFF"), "values from nan"),
    "two classes": (stored(car), "0, 7, 15;"),
           "two classes of a palette": (stored(car, palette=colours), "0, 7, 15;"),
    "ones and twos": (stored(person + np.uint8(car == 7) * np.uint8(2)), "0, 1, 2;"),
    "a photo": (stored(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)),
                "is this the photo"),
    "a grey photo": (stored(np.random.default_rng(0).integers(0, 256, (60, 80), np.uint8)),
                     "is this the photo"),
    "two colours on black": (stored(car[..., None] * np.uint8([1, 3, 5])), "3 colours"),
}


@pytest.mark.parametrize("kind", refused)
def test_what_is_not_clear_is_refused_with_its_values(kind):
    data, said = refused[kind]
    with pytest.raises(ImageError, match="^mine/masks/cat.png: ") as caught: read_any_mask(data)
    assert said in str(caught.value)


@pytest.mark.parametrize("kind", ["two classes", "two classes of a palette"])
def test_the_person_can_be_named(kind):
    assert np.array_equal(read_any_mask(refused[kind][0], person=15) == 255, person == 1)


def test_nobody_is_an_answer(): assert not read_any_mask(stored(0 * person)).any()


def test_masks_that_cannot_be_right_together():
    with pytest.raises(ImageError, match="all 2 masks are empty"): check_fractions([0, 0], "mine")
    with pytest.raises(ImageError, match="all 2 masks are full"): check_fractions([1, 1], "mine")
    assert "inverted" in check_fractions([0.9, 0.8, 0.7],
                                         "mine") and "inverted" not in check_fractions([0.1, 0.8,
                                                                                        0.2],
                                                                                       "mine")


@pytest.mark.parametrize("colour_type", [0, 3]) # grey, palette
def test_a_small_file_that_would_fill_the_memory_is_one_line(tmp_path, colour_type):
    header = struct.pack(">IIBBBBB", 20_000, 10_000, 1, colour_type, 0, 0, 0)
    palette = chunk(b"PLTE", bytes([0, 0, 0, 255, 0, 0])) if colour_type else b""
    bomb = (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette
            + chunk(b"IDAT", zlib.compress(bytes(2501 * 10_000))) + chunk(b"IEND", b""))
    for folder in ("mine", "true"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "good.png").write_bytes(readable["white"])
    (tmp_path / "true/bomb.png").write_bytes(bomb)
    scores, (problem,) = score_masks(tmp_path / "mine", tmp_path / "true")
    assert scores["good"]["iou"] == 1
    assert "bomb.png: 20000×10000 pixels, more than the 100,000,000 allowed" in problem
