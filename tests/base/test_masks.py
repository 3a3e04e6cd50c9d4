"""Masks of any tool: the person is found, or the file is refused by name with its values; never
silently nobody."""
import io

import cv2
import numpy as np
import pytest
from PIL import Image

from bg_remover.base.files import ImageError, NamedBytes
from bg_remover.base.masks import check_fractions, read_any_mask

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
    "soft": stored(cv2.GaussianBlur(255 * person, (0, 0), 2)),
}


@pytest.mark.parametrize("kind", readable)
def test_the_person_is_found(kind):
    found = read_any_mask(readable[kind])
    assert set(np.unique(found)) <= {0, 128, 255}
    wrong = (found == 255) != (person == 1)
    if "border" in kind: wrong[10:12] = False # ignored there
    assert wrong.sum() <= (40 if kind in ("soft", "JPEG", "colour JPEG") else 0)


def test_a_border_is_ignored():
    assert (read_any_mask(readable["palette with border"])[10:12, 20:60] == 128).all()


refused = {
    "two classes": (stored(car), "0, 7, 15;"),
           "two classes of a palette": (stored(car, palette=colours), "0, 7, 15;"),
    "ones and twos": (stored(person + np.uint8(car == 7) * np.uint8(2)), "0, 1, 2;"),
    "a photo": (stored(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)),
                "the photo instead"),
    "a grey photo": (stored(np.random.default_rng(0).integers(0, 256, (60, 80), np.uint8)),
                     "the photo instead"),
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
