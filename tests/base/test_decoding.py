"""Decoding: every kind of damage, and which way is up."""
import io
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from bg_remover.base.errors import ImageError
from bg_remover.base.decoding import NamedBytes, is_complete
from bg_remover.base.masks import read_any_mask
from bg_remover.images import read_image, read_mask
from picture_files import encoded, noise

quick = settings(max_examples=30, deadline=None,
                 suppress_health_check=[HealthCheck.function_scoped_fixture])


# --- which way is up

def test_a_mask_is_turned_as_its_photo_is(tmp_path):
    mask = np.zeros((4, 6), np.uint8)
    mask[0, :2] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    result = read_mask(encoded(mask, "PNG", exif=exif))
    assert (result == np.rot90(mask, -1)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BigTIFF", "WEBP", "AVIF"])
def test_any_mask_is_turned_as_its_photo_is(orientation, form):
    mask = np.zeros((40, 60), np.uint8)
    mask[:10, :20] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = dict(big_tiff=True) if form == "BigTIFF" else {}
    data = encoded(mask, form.removeprefix("Big"), exif=exif, **options)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("L"))
    assert (read_any_mask(data) == np.uint8(upright >= 128) * 255).all()
    assert (np.uint8(read_image(data)[..., 0] >= 128) == np.uint8(upright >= 128)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_class_numbers_are_turned_as_their_photo_is(orientation):
    numbers = np.zeros((40, 60), np.uint8)
    numbers[:10, :20] = 1
    picture, exif, file = Image.fromarray(numbers), Image.Exif(), io.BytesIO()
    picture.putpalette([0, 0, 0, 255, 0, 0])
    exif[0x0112] = orientation
    picture.save(file, "PNG", exif=exif)
    red = read_image(file.getvalue())[..., 0]
    assert (read_any_mask(file.getvalue()) == red).all()


def test_bytes_may_have_a_name():
    with pytest.raises(ImageError, match="^cat.jpg: the file is empty"):
        read_image(NamedBytes(b"", "cat.jpg"))


# --- damage

@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_cut_short_at_any_place(format):
    data = encoded(noise(), format)
    step = max(1, len(data) // 60)
    last = len(data) - 2 * (format == "JPEG") # which may lack its end mark
    for end in [*range(1, last, step), *range(last - 12, last)]:
        with pytest.raises(ImageError): read_image(data[:end])
    assert read_image(data).shape == (60, 90, 3)


@pytest.mark.parametrize("options",
                         [{}, dict(subsampling=0), dict(restart_marker_rows=1),
                          dict(optimize=True), dict(progressive=True),
                          dict(progressive=True, subsampling=0, quality=100)], ids=str)
@pytest.mark.parametrize("size", [(60, 90), (61, 83), (8, 8)])
def test_a_jpeg_may_lack_its_end_mark_but_no_pixel(options, size):
    for photo in (noise(*size), noise(*size)[..., 0]):
        data = encoded(photo, "JPEG", **options)
        for end in (1, 2): assert np.array_equal(read_image(data[:-end]), read_image(data))
        for end in range(6, len(data) - 620, 37):
            with pytest.raises(ImageError, match="incomplete"): read_image(data[:-end])


def test_no_cut_that_loses_a_pixel_of_a_progressive_jpeg_passes_as_whole():
    flat = np.full((64, 64, 3), 200, np.uint8)
    flat[:20, :20] = 10
    for photo, quality in ((noise(33, 17), 75), (noise(16, 16), 95), (noise()[..., 0], 30),
                           (flat, 100)):
        data = encoded(photo, "JPEG", progressive=True, quality=quality)
        for end in range(3, len(data)):
            try: pixels = read_image(data[:-end])
            except ImageError: continue
            assert np.array_equal(pixels, read_image(data)), (photo.shape, end)


def test_a_jpeg_whose_colours_come_one_after_another_needs_all_of_them():
    grey = [encoded(plane, "JPEG") for plane in np.rollaxis(noise(64, 64), 2)]
    frame, scan, end = grey[0].index(b"\xff\xc0"), grey[0].index(b"\xff\xda"), len(grey[0]) - 2
    components = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    head = (grey[0][:frame] + b"\xff\xc0\0\x11" + grey[0][frame + 4:frame + 9] + b"\3" + components
            + grey[0][frame + 13:scan])
    scans = [one[scan:scan + 5] + bytes([number]) + one[scan + 6:-2]
             for number, one in enumerate(grey, 1)]
    data = head + b"".join(scans)
    assert np.array_equal(read_image(data), read_image(data + b"\xff\xd9"))
    for count in (1, 2):
        with pytest.raises(ImageError, match="incomplete"):
            read_image(head + b"".join(scans[:count]))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_half_a_jpeg_with_an_end_mark_is_refused(orientation):
    notes = Image.Exif()
    notes[0x0112] = orientation
    data = encoded(noise(), "JPEG", exif=notes)
    plain = np.full((60, 90, 3), 128, np.uint8)
    plain[:40] = noise()[:40]
    for end in (600, 300, 150):
        for whole in (data, encoded(noise()[..., 0], "JPEG", restart_marker_rows=1)):
            with pytest.raises(ImageError, match="incomplete"):
                read_image(whole[:-end] + b"\xff\xd9")
    assert read_image(encoded(plain, "JPEG")).shape == (60, 90, 3) # a grey floor is no damage


def test_a_jpeg_without_end_mark_may_have_notes_that_nobody_can_write_again():
    longitude = b"\0\5\0\2\0\0\0\2N\0\0\0" # text where a number belongs
    notes = b"".join((b"MM\0*\0\0\0\x08\0\2", b"\x01\x12\0\3\0\0\0\1\0\6\0\0",
                      b"\x88%\0\4\0\0\0\1\0\0\0\x26", b"\0" * 4, b"\0\1", longitude, b"\0" * 4))
    data = encoded(noise(), "JPEG", exif=b"Exif\0\0" + notes)
    assert read_image(data[:-2]).shape == (90, 60, 3) # turned, as the note says
    assert np.array_equal(read_image(data[:-2]), read_image(data))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_with_a_preview_inside_is_judged_by_its_own_end(progressive):
    data = encoded(noise(), "JPEG", progressive=progressive)
    preview = b"Exif\0\0" + encoded(noise(20, 30), "JPEG")
    data = data[:2] + b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview + data[2:]
    assert read_image(data).shape == (60, 90, 3)
    for end in range(4, len(data) - 1, 97):
        assert not is_complete(data[:end]), end
        with pytest.raises(ImageError): read_image(data[:end])


@pytest.mark.parametrize("trailer", [b"\0" * 500, b"\xff\xda ftypmp42 \xff\xd8" * 50],
                         ids=["padding", "a film behind it"])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_bytes_after_the_end_do_no_harm(format, trailer):
    data = encoded(noise(), format)
    assert (read_image(data + trailer) == read_image(data)).all()


def test_restart_marks_are_no_end():
    data = encoded(noise(), "JPEG", restart_marker_rows=1)
    assert b"\xff\xd0" in data
    assert read_image(data).shape == (60, 90, 3)


def test_one_wrong_byte_in_the_pixels_of_a_png():
    data = bytearray(encoded(noise(), "PNG"))
    data[len(data) // 2] ^= 1
    with pytest.raises(ImageError, match="damaged"): read_image(bytes(data))


def test_a_wrong_checksum_where_it_does_not_matter():
    data = encoded(noise(), "PNG")
    comment = (5).to_bytes(4, "big") + b"tEXta\0bcd" + b"\0\0\0\0"
    # 33 bytes: signature and IHDR
    assert read_image(data[:33] + comment + data[33:]).shape == (60, 90, 3)


@given(data=st.binary(max_size=300),
       start=st.sampled_from([b"", b"\xff\xd8", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF",
                              b"II*\0"]))
@quick
def test_rubbish_never_gets_out_as_another_error(data, start):
    with pytest.raises(ImageError): read_image(start + data)


@pytest.mark.parametrize("content, message, remedy", [
    (b"", "the file is empty", "download it again"),
                                                      (b"a text that calls itself a photo",
                                                       "not a photo", "convert it"),
    (encoded(noise(), "JPEG")[:900], "incomplete", "download it again")],
                         ids=["empty", "text", "cut short"])
def test_the_message_names_the_file_and_the_remedy(tmp_path, content, message, remedy):
    path = tmp_path / "Übersicht 人 1.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as error: read_image(path)
    assert str(error.value).startswith(str(path)) and remedy in str(error.value)


def test_bytes_have_a_name_too():
    with pytest.raises(ImageError, match="the given bytes"): read_image(b"")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.jpg"): read_image(tmp_path / "nowhere.jpg")
    with pytest.raises(OSError, match=tmp_path.name): read_image(tmp_path)


def test_nothing_is_printed_about_a_bad_photo(tmp_path):
    bad = [encoded(noise(), format)[:-200]
           for format in ("JPEG", "PNG", "WEBP", "GIF", "TIFF")] + [b"text" * 20]
    for number, data in enumerate(bad): (tmp_path / f"{number}.bin").write_bytes(data)
    flipped = bytearray(encoded(noise(), "PNG"))
    flipped[len(flipped) // 2] ^= 255
    (tmp_path / "flipped.bin").write_bytes(flipped)
    code = ("import sys, pathlib\nfrom bg_remover.images import read_image; from "
            "bg_remover.base.errors import ImageError\nfailed = 0\n"
            "for path in pathlib.Path(sys.argv[1]).iterdir():\n"
            "    try: read_image(path)\n    except ImageError: failed += 1\nprint(failed)")
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True,
                          env=_without_log_level())
    assert (done.stdout.strip(), done.stderr) == ("7", "")


def _without_log_level():
    return {name: value for name, value in os.environ.items() if name != "OPENCV_LOG_LEVEL"}
