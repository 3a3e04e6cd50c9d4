"""Any photo file, as every part of the package reads it: kind by first bytes, colours,
transparency, what is damaged and what only looks so."""
import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from bg_remover.base.errors import ImageError
from bg_remover.base.formats import file_kind
from bg_remover.base.photo_files import read_photo, read_rgb
from bg_remover.images import as_image, read_image
from picture_files import chunk, encoded, noise

samples = Path(__file__).resolve().parents[2] / "nbs/samples/mini_coco/val2017"
srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def with_chunks(data: bytes, *chunks: bytes) -> bytes:
    "A PNG with chunks behind its header."
    return data[:33] + b"".join(chunks) + data[33:]


def adobe_rgb() -> bytes:
    "sRGB's profile with other primaries, much as Adobe RGB's."
    data = bytearray(srgb)
    primaries = {b"rXYZ": (0.60974, 0.31111, 0.01947), b"gXYZ": (0.20528, 0.62567, 0.06087),
                 b"bXYZ": (0.14919, 0.06322, 0.74457)}
    for number in range(struct.unpack_from(">I", data, 128)[0]):
        name, start, _ = struct.unpack_from(">4sII", data, 132 + 12 * number)
        if name in primaries:
            struct.pack_into(">3i", data, start + 8,
                             *[round(value * 65536) for value in primaries[name]])
    return bytes(data)


def as_shown(data: bytes) -> np.ndarray:
    "What a viewer that knows profiles shows."
    picture = Image.open(io.BytesIO(data))
    return np.asarray(ImageCms.profileToProfile(picture, io.BytesIO(picture.info["icc_profile"]),
                                                ImageCms.createProfile("sRGB"), outputMode="RGB"))


# --- what a file is

@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000"])
def test_a_photo_is_known_by_its_first_bytes(form):
    assert file_kind(encoded(noise(), form)) == form


others = {
    "raw": [b"FUJIFILMCCD-RAW 0201", b"IIRO\x08\0\0\0", b"IIU\0\x18\0\0\0",
            b"II*\0\x10\0\0\0CR\2\0", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom"],
    "a film": [b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
               b"\x1aE\xdf\xa3\1\0\0\0", b"RIFF\0\0\0\0AVI LIST", (b"G" + bytes(187)) * 3],
    "a PPM picture": [b"P6\n# made by hand\n90 60\n255\n", b"P5 90 60 255\n"],
    "a QOI picture": [b"qoif\0\0\0\x5a"],
    "a JPEG XL photo": [b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a\x90\x01"],
    "a Photoshop file": [b"8BPS\0\1\0\0"],
    "HEIF": [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc"],
    "AVIF": [b"\0\0\0\x1cftypavis\0\0\0\0avismif1miaf"],
    "": [b"", b"P6 is the name of a road", b"BMW and other cars are sold here",
         b"GIF is a format", b"Good morning", b"%PDF-1.7", b"PK\3\4"],
}


@pytest.mark.parametrize("kind", others)
def test_other_files_are_called_what_they_are(kind):
    for head in others[kind]: assert file_kind(head) == kind, head
    for head in others[kind]:
        with pytest.raises(ImageError) as error: read_photo(head)
        if kind == "raw": assert "raw photo of a camera" in str(error.value)
        elif kind.startswith("a "): assert f"{kind}" in str(error.value)
        elif not kind: assert "HEIC" not in str(error.value)


def tiff_pages(*pages: np.ndarray, tags: tuple = (), big: bool = False) -> bytes:
    "A TIFF of several pages; tags: for each page, such as {254: 1} for a preview."
    from PIL.TiffImagePlugin import ImageFileDirectory_v2
    pictures = []
    for number, pixels in enumerate(pages):
        picture, directory = Image.fromarray(pixels), ImageFileDirectory_v2()
        for tag, value in (tags[number] if number < len(tags) else {}).items():
            directory[tag] = value
            directory.tagtype[tag] = 1 if isinstance(value, bytes) else 4
        picture.encoderinfo = dict(tiffinfo=directory)
        pictures.append(picture)
    first = pictures[0].encoderinfo
    return encoded(pictures[0], "TIFF", save_all=True, append_images=pictures[1:], big_tiff=big,
                   **first)


def test_a_preview_is_not_taken_for_the_photo(tmp_path):
    small, mosaic = noise(20, 30), {262: 32803}
    for tags in ([{254: 1}], [{50706: b"\1\4\0\0"}], [{254: 1}, mosaic], [{254: 1}, {254: 1}]):
        (tmp_path / "photo.tif").write_bytes(tiff_pages(small, noise()[:, :, 0], tags=tags)
                                             if len(tags) == 2 else tiff_pages(small, tags=tags))
        with pytest.raises(ImageError, match="photo.tif: .*raw photo"):
            read_photo(tmp_path / "photo.tif")
    (tmp_path / "photo.NEF").write_bytes(encoded(noise(), "TIFF"))
    with pytest.raises(ImageError, match="photo.NEF: .*raw photo"):
        read_photo(tmp_path / "photo.NEF")


@pytest.mark.parametrize("big", [False, True])
def test_of_a_tiff_with_a_preview_first_the_largest_page_is_read(big):
    middle = noise(40, 60)
    for pages, tags in (((noise(20, 30), noise()), [{254: 1}]),
                        ((middle, noise(), noise(20, 30)), [{254: 1}]), # larger than a quarter
                        ((noise(20, 30), middle, noise()), []), # it does not say so
                        ((noise(20, 30), noise(), noise(120, 180)), [{254: 1}, {}, {254: 4}])):
        data = tiff_pages(*pages, tags=tags, big=big)
        read = read_photo(data)
        assert np.array_equal(read.pixels, noise()) and "largest page" in read.note
        assert np.array_equal(read_image(data), noise())
    for pages in ((noise(), noise(20, 30)), (noise(), noise(61, 91)), (middle, noise())):
        read = read_photo(tiff_pages(*pages, big=big)) # pages of a document
        assert np.array_equal(read.pixels, pages[0]) and read.note == "first of 2 frames"


def test_a_page_below_another_is_found():
    data = tiff_pages(noise(20, 30), noise(), tags=[{254: 1, 329: 0}])
    small, = struct.unpack_from("<I", data, 4)
    end = small + 2 + 12 * struct.unpack_from("<H", data, small)[0]
    large, = struct.unpack_from("<I", data, end) # from now on only the first page's tag leads there
    at = data.index(struct.pack("<HHI", 329, 4, 1), small)
    data = (data[:at] + struct.pack("<HHII", 330, 4, 1, large) + data[at + 12:end] + bytes(4)
            + data[end + 4:])
    assert np.array_equal(read_photo(data).pixels, noise())
    assert read_photo(data).note == "its largest page; the first is much smaller"


def test_pages_that_lead_in_a_circle_or_nowhere_end_in_an_answer():
    data = tiff_pages(noise(20, 30), noise(), tags=[{254: 1}])
    start, = struct.unpack_from("<I", data, 4)
    end = start + 2 + 12 * struct.unpack_from("<H", data, start)[0]
    for following in (start, len(data), 2**32 - 1, 3):
        with pytest.raises(ImageError): # the only page left is a preview
            read_photo(data[:end] + struct.pack("<I", following) + data[end + 4:])


def interlaced(pixels: np.ndarray) -> bytes:
    "A PNG in seven passes, each finer than the one before (Adam7)."
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
              (0, 1, 1, 2))
    rows = b"".join(b"\0" + row.tobytes() for left, top, across, down in passes
                    for row in pixels[top::down, left::across])
    head = struct.pack(">IIBBBBB", *pixels.shape[1::-1], 8, 2, 0, 0, 1)
    return (encoded(pixels, "PNG")[:8] + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))


def top_down(pixels: np.ndarray) -> bytes:
    "A BMP whose first row is the upper one; its height is negative."
    data = encoded(pixels[::-1], "BMP")
    return data[:22] + struct.pack("<i", -len(pixels)) + data[26:]


def bmp_with_alpha(pixels: np.ndarray, alpha: np.ndarray) -> bytes:
    "A BMP of version 5, which says what its fourth byte means."
    body = np.dstack([pixels[..., ::-1], alpha])[::-1].tobytes()
    head = struct.pack("<IiiHHIIiiII", 124, *pixels.shape[1::-1], 1, 32, 3, len(body), 0, 0, 0, 0)
    masks = struct.pack("<IIII4s", 0xff0000, 0xff00, 0xff, 0xff000000, b"BGRs")
    return (b"BM" + struct.pack("<IHHI", 138 + len(body), 0, 0, 138) + head + masks + bytes(64)
            + body)


def lab_tiff(pixels: np.ndarray) -> bytes:
    ends = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return encoded(ImageCms.profileToProfile(Image.fromarray(pixels), *ends, outputMode="LAB"),
                   "TIFF")


rare = {"interlaced": interlaced, "upside down": top_down, "Lab": lab_tiff,
        "one bit": lambda pixels: encoded(Image.fromarray(pixels).convert("1"), "TIFF",
                                          compression="group4"),
        "several in one": lambda pixels: encoded(pixels, "MPO", save_all=True, quality=98,
                                                 append_images=[Image.new("RGB", (9, 9))]),
        "an animated AVIF": lambda pixels: encoded(pixels, "AVIF", save_all=True, quality=98,
                                                   append_images=[Image.new("RGB", (90, 60))])}


@pytest.mark.parametrize("kind", rare)
def test_rare_kinds_are_read_as_plain_ones(kind):
    pixels = np.dstack([noise()[..., 1]] * 3) # grey: no format loses colours
    if kind == "one bit": pixels = np.asarray(Image.fromarray(pixels).convert("1").convert("RGB"))
    off = np.abs(read_photo(rare[kind](pixels)).pixels.astype(int) - pixels)
    exact = kind in ("interlaced", "upside down", "one bit")
    assert off.max() == 0 if exact else off.mean() <= 2


def test_a_bmp_that_says_so_is_transparent():
    alpha = np.full((60, 90), 255, np.uint8)
    alpha[:, :45] = 0
    read = read_photo(bmp_with_alpha(noise(), alpha))
    assert np.array_equal(read.alpha, alpha)
    assert np.array_equal(read.pixels[:, 45:], noise()[:, 45:])


# --- good files with odd notes

def test_a_damaged_note_is_no_reason_to_refuse_a_png():
    photo = noise()
    data = encoded(photo, "PNG")
    text = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(3_000_000)))
    for odd in (text, chunk(b"tEXt", b"a\0b", right=False), chunk(b"cHRM", b"\0\0\0"),
                chunk(b"iCCP", b"no profile"), chunk(b"pHYs", b"\0"),
                chunk(b"gAMA", b"\0\0"), chunk(b"tRNS", bytes(6), right=False),
                chunk(b"eXIf", b"rubbish")):
        read = read_photo(with_chunks(data, odd))
        assert np.array_equal(read.pixels, photo) and read.alpha is None
        assert np.array_equal(read_image(with_chunks(data, odd)), photo)


def test_a_large_profile_is_read():
    large = bytearray(srgb) + bytes(1_500_000)
    large[:4] = struct.pack(">I", len(large))
    data = with_chunks(encoded(noise(), "PNG"),
                       chunk(b"iCCP", b"photo\0\0" + zlib.compress(bytes(large))))
    assert read_photo(data).profile == bytes(large) and np.array_equal(read_image(data), noise())


def animation(hidden: bool, frames: int = 3) -> bytes:
    "A PNG whose animation begins with its still picture, or behind it."
    pixels = noise(20, 30)
    return encoded(pixels, "PNG", save_all=True,
                   append_images=[Image.fromarray(255 - pixels)] * (frames - 1 + hidden),
                   default_image=hidden)


def test_the_still_picture_of_an_animation():
    for hidden, note in ((False, "first of 3 frames"),
                         (True, "the still picture of an animation with 3 frames")):
        read = read_photo(animation(hidden))
        assert np.array_equal(read.pixels, noise(20, 30)) and read.note == note
    empty = with_chunks(encoded(noise(20, 30), "PNG"), chunk(b"acTL", struct.pack(">II", 5, 0)))
    assert np.array_equal(read_image(empty), noise(20, 30)) and read_photo(empty).note == ""


def test_a_bmp_whose_fourth_byte_is_unused_is_solid():
    photo = noise(20, 30)
    data = encoded(np.dstack([photo, np.zeros((20, 30), np.uint8)]), "BMP")
    read = read_photo(data)
    assert read.alpha is None and np.array_equal(read.pixels, photo)
    assert np.array_equal(read_image(data), photo)


def test_a_missing_end_mark_is_noted():
    data = encoded(noise(), "JPEG")
    assert "end mark" in read_photo(data[:-2]).note and read_photo(data).note == ""


def test_a_progressive_jpeg_that_lost_scans_is_noted():
    data = encoded(noise(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    assert "finest details" in read_photo(data[:last] + b"\xff\xd9").note
    assert read_photo(data).note == ""


def test_a_palette_that_is_missing_is_damage():
    data = encoded(Image.fromarray(noise()).quantize(16), "PNG")
    start = data.index(b"PLTE") - 4
    end = start + 12 + struct.unpack_from(">I", data, start)[0]
    with pytest.raises(ImageError, match="damaged"): read_photo(data[:start] + data[end:])


# --- colours

@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_colours_are_converted_for_everybody(form):
    data = encoded(np.full((8, 8, 3), (200, 60, 40), np.uint8), form, icc_profile=adobe_rgb(),
                   **(dict(lossless=True) if form == "WEBP" else dict(quality=100)))
    shown = as_shown(data)
    assert np.abs(shown[4, 4].astype(int) - (200, 60, 40)).max() > 10 # the test itself is right
    for pixels in (read_image(data), as_image(data), as_image(Image.open(io.BytesIO(data))),
                   read_photo(data).srgb):
        assert np.abs(pixels.astype(int) - shown).max() <= 1
    read = read_photo(data)
    assert np.abs(read.pixels[4, 4].astype(int) - (200, 60, 40)).max() <= 2
    assert read.profile == adobe_rgb()


def test_a_profile_that_is_srgbs_changes_nothing():
    data = encoded(noise(), "PNG", icc_profile=srgb)
    assert np.array_equal(read_image(data), noise()) and read_photo(data).srgb is not None


def test_grey_with_a_profile():
    # Pillow makes none for grey, so this one is written by hand
    grey = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(1.0 * 256)) # linear
    white = b"XYZ \0\0\0\0" + struct.pack(">3i",
                                          *(round(value * 65536) for value in (0.9642, 1, 0.8249)))
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"made\0" + bytes(78)
    blocks = {b"desc": text + bytes(-len(text) % 4), b"wtpt": white, b"kTRC": curve}
    table, body, start = struct.pack(">I", len(blocks)), b"", 132 + 12 * len(blocks)
    for name, block in blocks.items():
        table, body = table + struct.pack(">4sII", name, start + len(body),
                                          len(block)), body + block
    head = struct.pack(">I4sI4s4s4s12x4s", start + len(body), bytes(4), 0x02400000, b"mntr",
                       b"GRAY", b"XYZ ", b"acsp")
    profile = head + bytes(28) + white[8:] + bytes(48) + table + body
    data = encoded(Image.new("L", (8, 8), 55), "PNG", icc_profile=profile)
    # 55 / 255 of the light is middle grey
    assert 125 <= read_image(data)[0, 0, 0] <= 132 and read_photo(data).profile is None


def test_a_png_with_a_gamma_of_its_own():
    data = with_chunks(encoded(np.full((4, 4, 3), 55, np.uint8), "PNG"),
                       chunk(b"gAMA", struct.pack(">I", 100_000)))
    assert 125 <= read_image(data)[0, 0, 0] <= 132
    usual = with_chunks(encoded(np.full((4, 4, 3), 55, np.uint8), "PNG"),
                        chunk(b"gAMA", struct.pack(">I", 45_455)))
    assert (read_image(usual) == 55).all()


# --- transparency

def half_clear(deep: bool = False) -> bytes:
    "Green at the left; at the right fully transparent, with magenta hidden there."
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:, :4], rgba[:, 4:] = (0, 200, 0, 255), (255, 0, 255, 0)
    if not deep: return encoded(rgba, "PNG")
    return cv2.imencode(".png",
                        cv2.cvtColor(rgba,
                                     cv2.COLOR_RGBA2BGRA).astype(np.uint16) * 257)[1].tobytes()


@pytest.mark.parametrize("deep", [False, True])
def test_hidden_colours_never_show(deep):
    data = half_clear(deep)
    for pixels in (read_image(data), as_image(data), read_photo(data).pixels):
        assert (pixels[:, :4] == (0, 200, 0)).all() and (pixels[:, 4:] == 255).all()
    assert (read_photo(data).alpha == np.repeat([[255] * 4 + [0] * 4], 8, axis=0)).all()


@pytest.mark.parametrize("colour_type, values, clear",
                         [(0, (500, 40_000), (500,)),
                          (2, (65_535, 0, 65_535, 1000, 2000, 3000), (65_535, 0, 65_535))])
def test_one_transparent_value_of_16_bits(colour_type, values, clear):
    rows = (b"\0" + struct.pack(f">{len(values)}H", *values)) * 2
    chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, colour_type, 0, 0, 0)),
              chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear)),
              chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
    assert (read_photo(data).alpha == [0, 255]).all() and (read_rgb(data)[:, 0] == 255).all()


def test_a_pil_image_is_laid_on_white():
    assert (as_image(Image.open(io.BytesIO(half_clear())))[:, 4:] == 255).all()


# --- an empty name

def test_an_empty_name_is_refused():
    for read in (read_image, read_photo, as_image):
        with pytest.raises(ImageError, match="name is empty"): read("")
