"""Every photo: each way in which a file can be odd, damaged, huge or talkative, and what comes
out of it."""
import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from bg_remover.base import photo_files
from bg_remover.base.errors import ImageError
from bg_remover.base.photo_files import open_photo, read_photo
from bg_remover.images import read_image
from bg_remover.tool.photos import Cut, Request, cut_photo
from bg_remover.removal import (Background, Blur, Checkerboard, Colour, Picture, Remover,
                                parse_background)
from picture_files import chunk
from stand_in import RedRemover

samples = Path(__file__).resolve().parents[2] / "nbs/samples/mini_coco/val2017"
quick = settings(max_examples=25, deadline=None,
                 suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def remover(): return RedRemover()


def red_photo(height: int = 60, width: int = 90) -> np.ndarray:
    "A red block at the upper left, on teal: unlike any of its mirror images."
    photo = np.full((height, width, 3), (0, 120, 110), np.uint8)
    photo[:max(1, height // 2), :max(1, width // 3)] = (255, 0, 0)
    return photo


def stored(picture, form: str, **options) -> bytes:
    "The bytes of a file that Pillow writes."
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, form,
                                                                                     **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image: return Image.open(io.BytesIO(data))


def pixels_of(cut: Cut, mode: str = "RGBA") -> np.ndarray:
    return np.asarray(opened(cut.data).convert(mode))


def assert_red_is_cut(cut: Cut, height: int = 60, width: int = 90):
    "The red block is there, at the upper left; the middle of the rest is clear."
    rgba = pixels_of(cut)
    assert cut.found and rgba.shape == (height, width, 4)
    red, rest = rgba[height // 4, width // 6].astype(int), [rgba[3 * height // 4, width // 6],
                                                            rgba[height // 4, 2 * width // 3]]
    assert red[3] == 255 and red[0] > 200 and red[1:3].max() < 60
    assert not any(pixel.any() for pixel in rest)


# --- kinds of files

def png_of_16_bits(pixels: np.ndarray) -> bytes: # BGR or BGRA, as OpenCV has it
    return cv2.imencode(".png", pixels.astype(np.uint16) * 257)[1].tobytes()


kinds = {
    "jpeg": lambda p: stored(p, "JPEG", quality=95),
    "progressive jpeg": lambda p: stored(p, "JPEG", progressive=True, quality=95),
    "png": lambda p: stored(p, "PNG"),
    "webp": lambda p: stored(p, "WEBP", lossless=True),
    "gif": lambda p: stored(p, "GIF"),
    "bmp": lambda p: stored(p, "BMP"),
    "tiff": lambda p: stored(p, "TIFF"),
    "avif": lambda p: stored(p, "AVIF", quality=95),
    "jpeg 2000": lambda p: stored(p, "JPEG2000"),
    "palette png": lambda p: stored(Image.fromarray(p).quantize(16), "PNG"),
    "rgba png": lambda p: stored(Image.fromarray(p).convert("RGBA"), "PNG"),
    "rgba tiff": lambda p: stored(Image.fromarray(p).convert("RGBA"), "TIFF"),
    "cmyk jpeg": lambda p: stored(Image.fromarray(p).convert("CMYK"), "JPEG", quality=95),
    "cmyk tiff": lambda p: stored(Image.fromarray(p).convert("CMYK"), "TIFF"),
    "16-bit png": lambda p: png_of_16_bits(p[..., ::-1]),
    "16-bit rgba png": lambda p: png_of_16_bits(cv2.cvtColor(p, cv2.COLOR_RGB2BGRA)),
    "two pictures in one jpeg": lambda p: stored(p, "MPO", save_all=True,
                                                 append_images=[Image.fromarray(255 - p)]),
}


@pytest.mark.parametrize("kind", kinds)
def test_every_kind_of_file(remover, kind):
    cut = cut_photo(kinds[kind](red_photo()), remover)
    assert_red_is_cut(cut)
    assert cut.note == "" and 0.1 < cut.share < 0.25


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_grey_is_no_reason_to_fail(remover, mode):
    grey = Image.fromarray(red_photo()).convert("L")
    data = stored(np.asarray(grey).astype(np.uint16) * 257,
                  "PNG") if mode == "I;16" else stored(grey.convert(mode), "PNG")
    cut = cut_photo(data, remover)
    assert not cut.found and pixels_of(cut).shape == (60, 90, 4)


def test_grey_of_a_person_is_found():
    grey = stored(Image.open(samples / "000000343937.jpg").convert("L"), "JPEG")
    assert cut_photo(grey, Remover(), "webp").found


@pytest.mark.parametrize("form, options", [("GIF", {}), ("WEBP", dict(lossless=True)), ("PNG", {})],
                         ids=["gif", "webp", "apng"])
def test_of_an_animation_the_first_frame(remover, form, options):
    data = stored(red_photo(), form, save_all=True,
                  append_images=[Image.new("RGB", (90, 60), (0, 0, 10 * shade))
                                 for shade in range(11)], **options)
    cut = cut_photo(data, remover)
    assert_red_is_cut(cut)
    assert cut.note == "first of 12 frames"


def test_heic(remover):
    pytest.importorskip("pillow_heif").register_heif_opener()
    assert_red_is_cut(cut_photo(stored(red_photo(), "HEIF", quality=95), remover))


def test_heic_without_its_reader_names_it(tmp_path):
    path = tmp_path / "IMG_0001.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    code = ("import sys; sys.modules['pillow_heif'] = None\nfrom bg_remover.base.photo_files "
            "import open_photo\n"
            "try: open_photo(sys.argv[1])\nexcept ValueError as error: print(error)")
    said = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True,
                          check=True).stdout
    assert said.startswith(str(path)) and "pip install pillow-heif" in said


# --- the right way up

@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_upright(remover, orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    # the move that undoes what a viewer will do
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    picture = Image.fromarray(red_photo())
    if back is not None: picture = picture.transpose(back)
    data = stored(picture, form, exif=exif,
                  **{"JPEG": dict(quality=95), "WEBP": dict(lossless=True)}.get(form, {}))
    shown = np.asarray(ImageOps.exif_transpose(opened(data)).convert("RGB"))
    assert np.abs(shown[10, 10].astype(int) - (255, 0, 0)).max() < 40 # the test itself is right
    for keep in (False, True):
        cut = cut_photo(data, remover, keep_metadata=keep)
        assert_red_is_cut(cut)
        assert opened(cut.data).getexif().get(0x0112, 1) == 1


# --- transparency

@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_what_was_cut_away_stays_away(remover, form):
    rgba = np.dstack([red_photo(), np.full((60, 90), 255, np.uint8)])
    rgba[:, :15, 3] = 0 # half of the red block
    data = stored(rgba, form, **(dict(lossless=True, exact=True) if form == "WEBP" else {}))
    for background in (None, (9, 8, 7)):
        result = pixels_of(cut_photo(data, remover, background=background))
        assert (result[10, 5] == ((0, 0, 0, 0) if background is None else (9, 8, 7, 255))).all()
        assert (result[10, 22] == (255, 0, 0, 255)).all()
    assert (pixels_of(cut_photo(data, remover, mask=True), "L")[10] == [0] * 15 + [255] * 13
            + pixels_of(cut_photo(data, remover, mask=True), "L")[10, 28:].tolist()).all()


@pytest.mark.parametrize("opaque", [254, 128, 40])
def test_soft_photos_keep_their_colours(remover, opaque):
    rgba = np.dstack([red_photo(), np.full((60, 90), opaque, np.uint8)])
    solid = pixels_of(cut_photo(stored(red_photo(), "PNG"), remover))
    soft = pixels_of(cut_photo(stored(rgba, "PNG"), remover))
    assert (soft[..., :3] == solid[..., :3]).all() and (soft[..., 3] == np.minimum(solid[..., 3],
                                                                                   opaque)).all()
    on_grey = pixels_of(cut_photo(stored(rgba, "PNG"), remover, background=(100, 100, 100)), "RGB")
    assert np.abs(on_grey[10,
                          10] - (np.array([255, 0, 0]) * opaque
                                 + 100 * (255 - opaque)) / 255).max() <= 1


# --- colours and notes

def profile_of(*primaries) -> bytes:
    "An RGB profile whose primaries are given, as XYZ: that of sRGB, changed."
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for number in range(struct.unpack_from(">I", data, 128)[0]):
        name, start, _ = struct.unpack_from(">4sII", data, 132 + 12 * number)
        if name in (b"rXYZ", b"gXYZ", b"bXYZ"):
            struct.pack_into(">3i", data, start + 8,
                             *[round(value * 65536)
                               for value in primaries["rgb".index(chr(name[0]))]])
    return bytes(data)


profiles = {"Display P3": profile_of((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189),
                                     (0.1571, 0.06657, 0.78407)),
            "Adobe RGB": profile_of((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087),
                                    (0.14919, 0.06322, 0.74457))}


def seen(data: bytes) -> np.ndarray:
    "The colours of a file as a screen shows them."
    picture = opened(data)
    rgb = picture.convert("RGB")
    return np.asarray(ImageCms.profileToProfile(rgb, io.BytesIO(picture.info["icc_profile"]),
                                                ImageCms.createProfile("sRGB")))


@pytest.mark.parametrize("name", profiles)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_colours_look_as_before(remover, name, form):
    photo = red_photo()
    photo[photo[..., 0] == 255] = (230, 60, 40)
    data = stored(photo, form, icc_profile=profiles[name],
                  **{"JPEG": dict(quality=98), "WEBP": dict(lossless=True)}.get(form, {}))
    for wanted, options in (("png", {}), ("webp", {}), ("jpg", dict(background=(0, 120, 110)))):
        cut = cut_photo(data, remover, wanted, **options)
        assert opened(cut.data).info["icc_profile"] == profiles[name]
        # the others lose a little, which near the gamut's rim shows
        if wanted == "png":
            assert np.abs(seen(cut.data)[15, 15].astype(int) - seen(data)[15, 15]).max() <= 1
    # without the profile it would show
    assert np.abs(seen(data)[15, 15].astype(int) - photo[15, 15]).max() > 6


@pytest.mark.parametrize("name", profiles)
def test_a_background_looks_as_before_in_any_profile(remover, name):
    data, colour = stored(red_photo(), "PNG", icc_profile=profiles[name]), (200, 60, 40)
    for background in (colour, np.full((30, 30, 3), colour, np.uint8)):
        shown = seen(cut_photo(data, remover, background=background).data)
        assert np.abs(shown[50, 80].astype(int) - colour).max() <= 2
    without = pixels_of(cut_photo(stored(red_photo(), "PNG"), remover, background=colour), "RGB")
    assert (without[50, 80] == colour).all()


def test_a_damaged_profile_leaves_a_background_as_it_is(remover):
    damaged = profiles["Adobe RGB"][:200]
    assert (pixels_of(cut_photo(stored(red_photo(), "PNG", icc_profile=damaged), remover,
                                background=(200, 60, 40)), "RGB")[50, 80] == (200, 60, 40)).all()


def test_a_mask_has_no_colours(remover):
    assert "icc_profile" not in opened(cut_photo(stored(red_photo(), "PNG",
                                                        icc_profile=profiles["Adobe RGB"]), remover,
                                                 mask=True).data).info


def test_a_profile_for_other_channels_goes(remover):
    for_inks = bytearray(profiles["Adobe RGB"])
    for_inks[16:20] = b"CMYK"
    cut = cut_photo(stored(Image.fromarray(red_photo()).convert("CMYK"), "JPEG",
                           icc_profile=bytes(for_inks)), remover)
    assert "icc_profile" not in opened(cut.data).info


def profile_for_inks() -> bytes:
    "A small profile for four inks: a table from their 16 corners to Lab."
    corners = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    colours = [(255 * (1 - k) * (1 - (c + m + y) / 5), 128 + 45 * (m - c), 128 + 50 * (y - c))
               for c, m, y, k in corners]
    identity = struct.pack(">9i", *(65536 * (at % 4 == 0) for at in range(9)))
    straight, lab = bytes(range(256)), bytes(int(each) for colour in colours for each in colour)
    table = b"mft1\0\0\0\0\4\3\2\0" + identity + 4 * straight + lab + 3 * straight
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"made\0" + bytes(78)
    white = b"XYZ \0\0\0\0" + struct.pack(">3i",
                                          *(round(value * 65536) for value in (0.9642, 1, 0.8249)))
    blocks = {name: block + bytes(-len(block) % 4)
              for name, block in ((b"desc", text), (b"wtpt", white), (b"A2B0", table))}
    index, body, start = struct.pack(">I", len(blocks)), b"", 132 + 12 * len(blocks)
    for name, block in blocks.items():
        index, body = index + struct.pack(">4sII", name, start + len(body),
                                          len(block)), body + block
    head = struct.pack(">I4sI4s4s4s12x4s", start + len(body), bytes(4), 0x02400000, b"prtr",
                       b"CMYK", b"Lab ", b"acsp")
    return head + bytes(28) + white[8:] + bytes(48) + index + body


def test_inks_look_as_before(remover):
    "A CMYK photo with a profile of its own, which a viewer obeys."
    picture = Image.fromarray(red_photo()).convert("CMYK")
    data = stored(picture, "TIFF", icc_profile=profile_for_inks())
    expected = np.asarray(ImageCms.profileToProfile(picture, io.BytesIO(profile_for_inks()),
                                                    ImageCms.createProfile("sRGB"),
                                                    outputMode="RGB"))
    result = pixels_of(cut_photo(data, remover, mask=False, background=data), "RGB")
    assert np.abs(result.astype(int) - expected).max() <= 1
    # without the profile it would show
    assert np.abs(expected[10, 10].astype(int) - np.asarray(picture.convert("RGB"))[10,
                                                                                    10]).max() > 10
    assert "icc_profile" not in opened(cut_photo(data, remover).data).info


def test_a_large_profile_does_not_get_into_the_result(remover):
    large = bytearray(profiles["Adobe RGB"]) + bytes(1_500_000)
    large[:4] = struct.pack(">I", len(large))
    data = stored(red_photo(), "JPEG", quality=98, icc_profile=bytes(large))
    shown = np.asarray(ImageCms.profileToProfile(opened(data).convert("RGB"),
                                                 io.BytesIO(bytes(large)),
                                                 ImageCms.createProfile("sRGB")))
    for form in ("png", "webp"):
        result = opened(cut_photo(data, remover, form).data)
        assert "icc_profile" not in result.info
        if form == "png":
            assert np.abs(np.asarray(result)[10, 10, :3].astype(int) - shown[10, 10]).max() <= 1
    assert_red_is_cut(cut_photo(cut_photo(data, remover).data, remover))


def test_what_nobody_can_see_is_nobody(remover):
    clear = np.dstack([red_photo(), np.zeros((60, 90), np.uint8)])
    cut = cut_photo(stored(clear, "PNG"), remover)
    assert (cut.found, cut.share) == (False, 0) and not pixels_of(cut).any()


@pytest.mark.parametrize("form, options",
                         [("png", {}), ("jpg", dict(background=(1, 2, 3))),
                          ("png", dict(mask=True))])
def test_the_resolution_for_printing_is_kept_on_request(remover, form, options):
    for source in ("JPEG", "PNG", "TIFF"):
        data = stored(red_photo(), source, dpi=(300, 300))
        kept, dropped = (opened(cut_photo(data, remover, form, keep_metadata=keep,
                                          **options).data).info.get("dpi")
                         for keep in (True, False))
        assert max(abs(each - 300) for each in kept) < 0.1 and (dropped is None or dropped[0] < 100)


@pytest.mark.parametrize("form", ["png", "jpg", "webp"])
@pytest.mark.parametrize("density", [0.2, 1e6, 4294967295.0])
def test_a_resolution_that_no_file_can_hold_is_dropped(remover, form, density):
    notes = Image.Exif() # the JPEG's own, and the TIFF's
    notes[0x010F], notes[0x0128], notes[0x011A], notes[0x011B] = "a camera", 2, density, density
    jpeg = stored(red_photo(), "JPEG", exif=notes)
    no_jfif = jpeg[:2] + jpeg[20:] # else its resolution would count
    assert jpeg[2:4] == b"\xff\xe0" and opened(no_jfif).info["dpi"][0] == pytest.approx(density)
    for data in (no_jfif, stored(red_photo(), "TIFF", dpi=(density, density))):
        cut = cut_photo(data, remover, form, keep_metadata=True, background=(1, 2, 3))
        assert cut.found and read_photo(cut.data).dpi is None


def test_people_in_a_long_photo_are_found():
    photo = np.ascontiguousarray(cv2.imread(str(samples / "000000343937.jpg"))[..., ::-1])
    (height, width), grey, remover = photo.shape[:2], np.full_like(photo, 128), Remover()
    alone = remover.mask(photo)
    wide = remover.mask(np.concatenate([grey, photo, grey], axis=1))[:, width:2 * width]
    tall = remover.mask(np.concatenate([grey, photo, grey, grey]))[height:2 * height]
    for mask in (wide, tall): assert (mask & alone).sum() > 0.8 * (mask | alone).sum()


@pytest.mark.parametrize("size",
                         [(10, 21), (21, 10), (1, 900), (900, 1), (40, 81), (40, 80), (33, 70)])
def test_only_long_photos_are_looked_at_in_tiles(size):
    """Each tile is answered by 1 where the photo is bright; together they cover every pixel,
    and none is weighted away."""
    asked = []

    class Bright(RedRemover):
        def answer(self, photo):
            asked.append(photo.shape[:2])
            return np.full(self.image_size, photo.mean() / 255, np.float32)

    assert np.abs(Bright().probability(np.full((*size, 3), 255, np.uint8)) - 1).max() < 1e-3
    assert (len(asked) > 1) == (max(size) > 2 * min(size)) and len(asked) <= 31
    if len(asked) == 1: assert asked == [size]


def talkative(form: str = "JPEG", preview: bool = True) -> bytes:
    "A photo that says who took it, when, where and with what, and holds a preview of itself."
    notes = Image.Exif()
    notes[0x010F], notes[0x0132], notes[0x0112] = "Camera Works", "2024:05:01 10:00:00", 6
    details, place = notes.get_ifd(0x8769), notes.get_ifd(0x8825)
    details[0xA430], details[0x927C] = "the owner", b"maker's own" * 9
    details[0xA002], details[0xA003] = 60, 90
    place[1], place[2] = "N", (52.0, 31.0, 12.0)
    data = notes.tobytes()
    if preview: data = with_preview(data)
    return stored(Image.fromarray(red_photo()).transpose(2), form, exif=data,
                  comment=b"a secret comment",
                  **(dict(xmp=b"<x:xmpmeta>where and when</x:xmpmeta>") if form != "PNG" else {}))


small_preview = stored(np.full((8, 8, 3), 99, np.uint8), "JPEG")


def with_preview(exif: bytes) -> bytes:
    "Hang a second directory with a preview behind the first one of an EXIF block, as cameras do."
    head, tiff = exif[:6], bytearray(exif[6:])
    order = "<" if tiff[:2] == b"II" else ">"
    first = struct.unpack_from(order + "I", tiff, 4)[0]
    link = first + 2 + 12 * struct.unpack_from(order + "H", tiff, first)[0]
    struct.pack_into(order + "I", tiff, link, len(tiff))
    start = len(tiff) + 2 + 24 + 4
    tiff += struct.pack(order + "H HHII HHII I", 2, 0x0201, 4, 1, start, 0x0202, 4, 1,
                        len(small_preview), 0) + small_preview
    return head + bytes(tiff)


def test_nothing_is_told_by_default(remover):
    data = talkative()
    assert small_preview in data and b"Camera Works" in data # the test itself is right
    for form, options in (("png", {}), ("webp", {}), ("jpg", dict(background="blur")),
                          ("png", dict(mask=True))):
        result = opened(cut_photo(data, remover, form, **options).data)
        assert not result.getexif() and set(result.info) <= {"jfif", "jfif_version", "jfif_unit",
                                                             "jfif_density", "loop", "background",
                                                             "timestamp", "duration", "dpi"}
        raw = cut_photo(data, remover, form, **options).data
        assert not any(word in raw
                       for word in (b"Camera Works", b"owner", b"secret", b"xmpmeta",
                                    small_preview))


@pytest.mark.parametrize("form, options",
                         [("png", {}), ("webp", {}), ("jpg", dict(background=(1, 2, 3)))])
@pytest.mark.parametrize("source", ["JPEG", "WEBP", "PNG"])
def test_notes_are_kept_on_request_but_no_picture_of_the_old_background(remover, source, form,
                                                                        options):
    cut = cut_photo(talkative(source), remover, form, keep_metadata=True, **options)
    notes = opened(cut.data).getexif()
    details, place = notes.get_ifd(0x8769), notes.get_ifd(0x8825)
    assert notes[0x010F] == "Camera Works" and notes[0x0132].startswith("2024")
    assert notes[0x0112] == 1 and details[0xA430] == "the owner"
    assert (details[0xA002], details[0xA003]) == opened(cut.data).size == (90, 60)
    assert place[1] == "N" and place[2] == (52.0, 31.0, 12.0)
    assert not any(word in cut.data
                   for word in (small_preview, b"maker's own", b"secret", b"xmpmeta"))


def test_a_tiffs_notes_do_not_describe_the_result(remover):
    data = stored(red_photo(), "TIFF", compression="tiff_lzw", tiffinfo={0x010F: "Camera Works"})
    notes = opened(cut_photo(data, remover, keep_metadata=True).data).getexif()
    assert dict(notes) == {0x010F: "Camera Works", 0x0112: 1}


@pytest.mark.parametrize("form, options",
                         [("png", {}), ("webp", {}), ("jpg", dict(background=(1, 2, 3)))])
def test_damaged_notes_are_no_reason_to_refuse_a_photo(remover, form, options):
    profile = profiles["Adobe RGB"]
    for damaged in (profile[:200], profile[:128], profile + b"more",
                    profile[:36] + bytes(range(256))):
        cut = cut_photo(stored(red_photo(), "JPEG", quality=95, icc_profile=damaged,
                               exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), remover, form,
                        keep_metadata=True, **options)
        assert cut.found and pixels_of(cut).shape == (60, 90, 4)
        data = np.frombuffer(cut.data, np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR) is not None


# --- what may be asked for

@pytest.mark.parametrize("form", ["png", "webp"])
def test_a_mask_is_the_alpha_to_the_last_value(remover, form):
    data = stored(red_photo(), "PNG")
    mask = opened(cut_photo(data, remover, form, mask=True).data)
    assert (np.asarray(mask.convert("L")) == pixels_of(cut_photo(data, remover))[..., 3]).all()
    assert mask.mode == "L" or form == "webp" # WebP knows no grey


def test_png_is_the_removers_own_cutout(remover):
    data = stored(red_photo(), "PNG")
    assert (pixels_of(cut_photo(data, remover)) == remover.cutout(data)).all()
    for background in ((1, 2, 3), "blur", data):
        assert (pixels_of(cut_photo(data, remover, background=background),
                          "RGB") == remover.replace(data, background)).all()


@pytest.mark.parametrize("options, message", [
    (dict(format="jpg"), "has no transparency"),
                                              (dict(format="jpg", mask=True), "changes the values"),
                                              (dict(mask=True, background=(1, 2, 3)),
                                               "no background"),
    (dict(format="gif"), "'png', 'webp' or 'jpg', not 'gif'"),
                                              (dict(background=(1, 2, 300)), "integers from 0 "
                                               "to 255")])
def test_what_does_not_go_together(remover, options, message):
    with pytest.raises(ValueError, match=message):
        cut_photo(stored(red_photo(), "PNG"), remover, **options)


# each kind of background
examples = {Blur: "blur", Colour: "teal", Picture: np.full((30, 20, 3), (60, 99, 200), np.uint8),
            Checkerboard: "checkerboard"}


def test_every_kind_of_background_has_an_example():
    assert {type(parse_background(example))
            for example in examples.values()} == set(examples) == set(Background.__subclasses__())


def test_the_kinds_of_background_do_not_depend_on_what_is_imported():
    code = ("from bg_remover.tool.photos import Request; import sys; "
            "Request(background='checkerboard'); assert 'bg_remover.tool.video' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("kind", examples)
def test_a_background_is_a_value(remover, kind):
    background, photo = parse_background(examples[kind]), red_photo()
    assert isinstance(background, kind) and parse_background(background) is background and kind.hint
    alpha = np.uint8(photo[..., 0] == 255) * np.uint8(255)
    pixels = background.pixels(photo, alpha)
    assert pixels.shape == photo.shape and pixels.dtype == np.uint8
    assert isinstance(background.fingerprint, str)
    assert background.fingerprint == parse_background(examples[kind]).fingerprint
    assert (pickle.loads(pickle.dumps(background)).pixels(photo, alpha) == pixels).all()
    cut = cut_photo(stored(photo, "PNG"), remover, background=background)
    assert (pixels_of(cut,
                      "RGB") == pixels_of(cut_photo(stored(photo, "PNG"), remover,
                                                    background=examples[kind]), "RGB")).all()
    assert Request("jpg",
                   background=examples[kind]).settings()["background"] == background.fingerprint


@pytest.mark.parametrize("kind", examples)
def test_a_background_follows_a_profile(remover, kind):
    data = stored(red_photo(), "PNG", icc_profile=profiles["Adobe RGB"])
    shown = seen(cut_photo(data, remover, background=examples[kind]).data)
    plain = pixels_of(cut_photo(stored(red_photo(), "PNG"), remover, background=examples[kind]),
                      "RGB")
    if kind is Blur: plain = seen(data) # its colours are the photo's own
    assert np.abs(shown[50, 80].astype(int) - plain[50, 80]).max() <= 2


def test_a_fingerprint_tells_backgrounds_apart():
    assert len({parse_background(example).fingerprint
                for example in (*examples.values(), "white", (255, 255, 254),
                                np.zeros((2, 2, 3), np.uint8))}) == len(examples) + 3
    for teal in ("teal", (0, 128, 128)):
        assert parse_background(teal).fingerprint == "(0, 128, 128)"
    with pytest.raises(FileNotFoundError, match="'whyte' is not .*colour.*photo"):
        parse_background("whyte")


def test_nobody_is_an_answer(remover):
    teal = stored(Image.new("RGB", (30, 20), (0, 120, 110)), "PNG")
    cut = cut_photo(teal, remover)
    assert (cut.found, cut.share) == (False, 0) and not pixels_of(cut).any()
    assert not pixels_of(cut_photo(teal, remover, mask=True), "L").any()
    assert (pixels_of(cut_photo(teal, remover, background=(7, 8, 9)), "RGB") == (7, 8, 9)).all()


# --- sizes

@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
@pytest.mark.parametrize("form", ["png", "webp", "jpg"])
def test_odd_sizes(remover, size, form):
    cut = cut_photo(stored(np.full((*size, 3), (255, 0, 0), np.uint8), "PNG"), remover, form,
                    background=(1, 2, 3) if form == "jpg" else None)
    assert cut.found and cut.share == 1 and opened(cut.data).size == size[::-1]


@given(st.integers(1, 40), st.integers(1, 40),
       st.sampled_from(["L", "LA", "RGB", "RGBA", "P", "1", "CMYK", "I;16"]),
       st.integers(0, 2**32 - 1))
@quick
def test_any_size_and_mode(remover, height, width, mode, seed):
    random = np.random.default_rng(seed)
    channels = dict(LA=2, RGB=3, RGBA=4, CMYK=4).get(mode)
    shape = (height, width, channels) if channels else (height, width)
    kind, most = (np.uint16, 65535) if mode == "I;16" else (np.uint8, 255)
    values = random.integers(0, most + 1, shape).astype(kind)
    picture = Image.fromarray(values, mode) if channels else Image.fromarray(values).convert(mode)
    data = stored(picture, "TIFF" if mode == "CMYK" else "PNG")
    rgba = pixels_of(cut_photo(data, remover))
    assert rgba.shape == (height, width, 4) and not rgba[rgba[..., 3] == 0].any()
    if mode in ("LA", "RGBA"): assert (rgba[..., 3] <= values[..., -1]).all()


def test_too_wide_for_webp(remover):
    wide = stored(Image.new("RGB", (16384, 1), (255, 0, 0)), "PNG")
    with pytest.raises(ImageError, match="the given bytes: cannot be written as webp.*png"):
        cut_photo(wide, remover, "webp")
    assert cut_photo(wide, remover).share == 1


memory_of_a_photo = """
import sys
from bg_remover.tool.photos import cut_photo
from bg_remover.removal import (Background, Blur, Checkerboard, Colour, Picture, Remover,
                                parse_background)
def peak():
    lines = open("/proc/self/status")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
remover = Remover()
cut_photo(sys.argv[1], remover)
before = peak()
cut_photo(sys.argv[2], remover, sys.argv[3])
print(peak() - before)
"""


def bytes_of_a_photo(tmp_path, height: int, width: int, form: str) -> int:
    """What cutting a photo takes at most, beside what a small one takes. Linux' own count
    starts with the process; others count what its parent held."""
    sample = samples / "000000343937.jpg"
    cv2.imwrite(str(tmp_path / "large.jpg"), cv2.resize(cv2.imread(str(sample)), (width, height)))
    done = subprocess.run([sys.executable, "-c", memory_of_a_photo, sample, tmp_path / "large.jpg",
                           form], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux")
@pytest.mark.parametrize("form, each", [("png", 18), ("webp", 32)])
@pytest.mark.parametrize("height, width",
                         [(2000, 3000), pytest.param(5774, 8660, marks=pytest.mark.slow)],
                         ids=["6 megapixels", "50 megapixels"])
def test_memory_is_what_largest_photo_says(tmp_path, height, width, form, each):
    # what is worked on at a fixed size
    assert bytes_of_a_photo(tmp_path, height, width, form) < each * height * width + 70e6


# --- damage and harm

@pytest.mark.parametrize("kind", [kind for kind in kinds if kind not in ("bmp",)])
def test_cut_short(remover, tmp_path, kind):
    data = kinds[kind](np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8))
    path = tmp_path / "half.jpg"
    for end in (len(data) // 9, len(data) // 3, len(data) // 2, len(data) * 9 // 10):
        # the first is whole
        if kind == "two pictures in one jpeg" and end > len(data) // 2: continue
        path.write_bytes(data[:end])
        with pytest.raises(ImageError, match="half.jpg"): cut_photo(path, remover)


@pytest.mark.parametrize("content, message",
                         [(b"", "the file is empty"), (b"Dear diary, ", "not a photo"),
                          (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a photo"),
                          (b"\xff\xd8\xff", "damaged")])
@pytest.mark.parametrize("name", ["notes.jpg", "ein Foto, 人 é.jpg", "x" * 250 + ".jpg"],
                         ids=["plain", "unicode", "long"])
def test_what_is_no_photo(remover, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as error: cut_photo(path, remover)
    assert str(error.value).startswith(str(path)) and ";" in str(error.value)


@pytest.mark.parametrize("name",
                         ["ein Foto, 人 é.jpg", " ", "x" * 250 + ".jpg", "no suffix",
                          "wrong suffix.txt"])
def test_names_do_not_matter(remover, tmp_path, name):
    (tmp_path / name).write_bytes(stored(red_photo(), "JPEG", quality=95))
    assert_red_is_cut(cut_photo(tmp_path / name, remover))
    assert cut_photo(str(tmp_path / name), remover) == cut_photo(tmp_path / name, remover)


def test_a_file_that_is_not_there(remover, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.jpg"):
        cut_photo(tmp_path / "nowhere.jpg", remover)
    with pytest.raises(OSError, match=tmp_path.name): cut_photo(tmp_path, remover)


@pytest.mark.skipif(os.name == "nt", reason="needs a pipe with a name")
def test_a_pipe_is_read_once(remover, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    data = stored(red_photo(), "PNG")
    threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(data), daemon=True).start()
    assert_red_is_cut(cut_photo(tmp_path / "pipe", remover))


def bomb(side: int) -> bytes:
    "A PNG that says it is huge, in a few bytes."
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
            + chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b""))


@pytest.mark.parametrize("side", [10_001, 20_000, 60_000])
def test_a_bomb_is_refused_before_it_is_decoded(remover, tmp_path, side, monkeypatch):
    (tmp_path / "bomb.png").write_bytes(bomb(side))
    monkeypatch.setattr(photo_files, "_decode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="bomb.png.*smaller"):
        cut_photo(tmp_path / "bomb.png", remover)


def test_the_limit_can_be_set(remover):
    data = stored(red_photo(), "PNG")
    with pytest.raises(ImageError, match="90×60 pixels, more than the 5,399 allowed"):
        cut_photo(data, remover, largest=5399)
    assert cut_photo(data, remover, largest=5400).found
    with pytest.raises(ImageError, match="more than the 100,000,000 allowed.*raise `largest`"):
        open_photo(bomb(20_000))


def test_the_limit_may_be_higher_than_pillows_which_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000) # as a host may have set it
    assert open_photo(bomb(20_000), largest=500_000_000).size == (20_000, 20_000)
    with pytest.raises(ImageError, match="make it smaller"):
        open_photo(bomb(60_000), largest=500_000_000)
    assert read_image(stored(red_photo(), "PNG")).shape == (60, 90, 3)
    assert Image.MAX_IMAGE_PIXELS == 1000


@given(data=st.binary(max_size=200),
       start=st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a",
                              b"RIFF\0\0\0\0WEBP", b"II*\0", b"BM", b"\0\0\0\x1cftypavif",
                              b"\0\0\0\x18ftypheic", b"\0\0\0\x0cjP  \r\n\x87\n"]))
@quick
def test_rubbish_never_gets_out_as_another_error(remover, data, start):
    with pytest.raises(ImageError): cut_photo(start + data, remover)


def test_nothing_is_printed(tmp_path):
    for number, data in enumerate([stored(red_photo(), form)[:-90]
                                   for form in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF")]
                                  + [bomb(10_001), bomb(20_000), b"text"]):
        (tmp_path / f"{number}.bin").write_bytes(data)
    code = ("import sys, pathlib\nfrom bg_remover.base.photo_files import read_photo\nfrom "
            "bg_remover.base.errors import ImageError\nfailed = 0\n"
            "for path in pathlib.Path(sys.argv[1]).iterdir():\n    try: read_photo(path)\n"
            "    except ImageError: failed += 1\nprint(failed)")
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True,
                          env={name: value for name, value in os.environ.items()
                               if name != "OPENCV_LOG_LEVEL"})
    assert (done.stdout.strip(), done.stderr) == ("9", "")


def test_open_photo_decodes_nothing():
    picture = open_photo(stored(red_photo(), "PNG"))
    assert picture.size == (90, 60) and picture.format == "PNG"


# --- the table that is published

def test_every_row_of_the_table_has_its_test():
    notebook = json.loads((samples.parents[2] / "tool/photos.ipynb").read_text(encoding="utf-8"))
    tables = re.findall(r"^\|.*\| (`test_.*`) \|$",
                        "\n".join("".join(cell["source"]) for cell in notebook["cells"]), re.M)
    rows = [name for cell in tables for name in re.findall(r"test_\w+", cell)]
    base = Path(__file__).parents[1] / "base"
    files = [Path(__file__).with_name(f"test_{name}.py") for name in ("photos", "folders", "cli")]
    files += [base / "test_files.py", base / "test_decoding.py", base / "test_photo_files.py"]
    tests = [path.read_text(encoding="utf-8") for path in files]
    assert len(rows) >= 25 and not [name for name in rows
                                    if not any(f"def {name}(" in text for text in tests)]


# Crop, feather, quality, and the background without its people

person, nobody_there = stored(red_photo(120, 160),
                              "PNG"), stored(np.full((60, 90, 3), 90, np.uint8), "PNG")


def shown(cut: Cut) -> np.ndarray: return np.asarray(opened(cut.data))


def test_cropped_to_the_people_with_room(remover):
    whole = shown(cut_photo(person, remover))
    rows, columns = (np.flatnonzero((whole[..., 3] >= 13).any(axis=axis)) for axis in (1, 0))
    tight = shown(cut_photo(person, remover, crop=True, padding=0))
    assert np.array_equal(tight, whole[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1])
    wide = shown(cut_photo(person, remover, crop=True, padding=1000))
    assert np.array_equal(wide, whole), "no further than the photo"
    on_teal = shown(cut_photo(person, remover, background=(0, 128, 128), crop=True, padding=0))
    assert on_teal.shape == (*tight.shape[:2],
                             3) and shown(cut_photo(person, remover, mask=True, crop=True,
                                                    padding=0)).shape == tight.shape[:2]


def test_the_background_without_its_people(remover):
    people, rest = (shown(cut_photo(person, remover, keep=keep))[..., 3]
                    for keep in ("people", "background"))
    assert np.array_equal(rest, 255 - people)
    assert not cut_photo(nobody_there, remover, keep="background").found


def test_softer_edges(remover):
    hard, soft = (shown(cut_photo(person, remover, feather=feather))[..., 3] for feather in (0, 5))
    half = lambda alpha: int(((alpha > 0) & (alpha < 255)).sum())
    assert half(soft) > 2 * half(hard) and abs(float(soft.mean()) - float(hard.mean())) < 3


def test_quality_is_a_trade(remover):
    sizes = [len(cut_photo(person, remover, form, background=(9, 9, 9), quality=quality).data)
             for form in ("jpg", "webp") for quality in (20, 95)]
    assert sizes[0] < sizes[1] and sizes[2] < sizes[3]


@pytest.mark.parametrize("wrong",
                         [dict(keep="people and dogs"),
                          dict(keep="background", background=(1, 2, 3)),
                          dict(keep="background", crop=True),
                                   dict(crop=True, keep_metadata=True), dict(padding=-1),
                          dict(feather=101), dict(quality=50), dict(format="webp", quality=0)])
def test_what_does_not_go_together(wrong):
    with pytest.raises(ValueError): Request(**wrong)


def test_other_shapes_are_other_results():
    assert Request().settings() == dict(background=None, format="png", mask=False,
                                        keep_metadata=False), "folders made before go on"
    asked = [Request(), Request(crop=True), Request(crop=True, padding=9),
             Request(keep="background"), Request(feather=1), Request("webp", quality=50)]
    assert len({str(request.settings()) for request in asked}) == len(asked)
