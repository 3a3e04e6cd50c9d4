"""`from bg_remover import remove`: the same type back, the same options as the command; many
photos in order, a few at a time."""
import asyncio
import io
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

import bg_remover
from bg_remover import remove, remove_many
from bg_remover.base.errors import ImageError
from bg_remover.base.network import ModelError, NetworkNotice, known_networks, shipped_model
from stand_in import BrightRemover, write_known_network

rng = np.random.default_rng(0)
pixels = rng.integers(0, 60, (40, 60, 3), np.uint8)
pixels[10:30, 20:40] += 180
remover = BrightRemover()


def as_file(image: np.ndarray, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, form)
    return file.getvalue()


def from_file(data: bytes) -> np.ndarray: return np.asarray(Image.open(io.BytesIO(data)))


def test_the_same_type_comes_back(tmp_path):
    (tmp_path / "photo.png").write_bytes(as_file(pixels))
    array = remove(pixels, remover)
    assert isinstance(array, np.ndarray) and array.shape == (40, 60, 4) and array.dtype == np.uint8
    data = remove(as_file(pixels), remover)
    assert isinstance(data, bytes) and np.array_equal(from_file(data), array)
    for photo in (Image.fromarray(pixels), tmp_path / "photo.png", str(tmp_path / "photo.png")):
        answer = remove(photo, remover)
        assert isinstance(answer, Image.Image) and answer.mode == "RGBA"
        assert np.array_equal(np.asarray(answer), array)


@pytest.mark.parametrize("kind", [bytes, np.ndarray])
def test_the_options_of_the_command(kind):
    photo = pixels if kind is np.ndarray else as_file(pixels)
    shown = lambda answer: answer if kind is np.ndarray else from_file(answer)
    assert shown(remove(photo, remover, mask=True)).shape == (40, 60)
    on_teal = shown(remove(photo, remover, background="teal"))
    assert on_teal.shape == (40, 60, 3) and on_teal[0, 0].tolist() == [0, 128, 128]
    with pytest.raises(ValueError, match="a mask has no background"):
        remove(photo, remover, mask=True, background="teal")
    with pytest.raises(TypeError, match="sharpen"): remove(photo, remover, sharpen=3)
    if kind is bytes: assert remove(photo, remover, format="webp").startswith(b"RIFF")


def test_what_is_no_photo_is_one_error():
    with pytest.raises(ImageError): remove(b"no photo", remover)
    with pytest.raises(FileNotFoundError): remove("nowhere.jpg", remover)
    with pytest.raises(TypeError): remove(42, remover)


def test_nobody_is_an_empty_cutout():
    assert not remove(np.zeros((20, 20, 3), np.uint8), remover)[..., 3].any()


def test_many_photos_keep_their_order_and_only_a_few_are_held():
    drawn = []
    def photos():
        for number in range(40):
            drawn.append(number)
            yield np.full((16, 16 + number, 3), 200, np.uint8)
    answers = remove_many(photos(), remover)
    for number, answer in enumerate(answers):
        assert answer.shape == (16, 16 + number, 4)
        assert len(drawn) <= number + 6
    assert len(drawn) == 40


def test_a_bad_photo_is_raised_in_its_place_and_threads_end():
    answers, before = remove_many([pixels, b"no photo", pixels], remover), threading.active_count()
    assert next(answers).shape == (40, 60, 4)
    with pytest.raises(ImageError): next(answers)
    assert next(answers).shape == (40, 60, 4) # the photo behind it is not lost
    with pytest.raises(StopIteration): next(answers)
    assert threading.active_count() <= before


def test_many_photos_can_be_left_early():
    before = threading.active_count()
    answers = remove_many([pixels] * 9, remover)
    next(answers)
    answers.close()
    assert threading.active_count() <= before and not list(answers)


def test_wrong_options_are_one_error_for_many_photos():
    with pytest.raises(ValueError, match="a mask has no background"):
        remove_many([pixels], remover, mask=True, background="teal")


def test_a_network_file_that_has_changed_is_opened_anew(tmp_path):
    red, path = np.full((64, 64, 3), (250, 0, 0), np.uint8), tmp_path / "run.onnx"
    modnet = next(known for known in known_networks if known.name == "MODNet")
    write_known_network(path, modnet) # to which red is a person
    with pytest.warns(NetworkNotice): before = remove(red, path)
    assert before[..., 3].all() and np.array_equal(remove(red, str(path)), before)
    shutil.copy(shipped_model(), path)
    assert not remove(red, path)[..., 3].any()
    with pytest.raises(ModelError, match="no such file"): remove(red, tmp_path / "nowhere.onnx")


def test_what_is_about_files_is_refused_for_other_photos():
    for option in (dict(format="webp"), dict(keep_metadata=True), dict(largest=10),
                   dict(format="webp", quality=5)):
        for photo in (pixels, Image.fromarray(pixels)):
            with pytest.raises(ValueError, match=f"{[*option][0]} is about files"):
                remove(photo, remover, **option)


@pytest.mark.parametrize("options", [{}, dict(mask=True), dict(background="teal")])
def test_a_transparent_photo_is_the_same_as_a_file_and_as_an_image(tmp_path, options):
    alpha = np.uint8([[0, 90, 200] * 20] * 40)
    clear = Image.fromarray(np.dstack([np.maximum(pixels, 150), alpha]))
    for photo in (clear, clear.convert("LA"), clear.convert("P")):
        photo.save(tmp_path / "photo.png")
        of_file = remove(tmp_path / "photo.png", remover, **options)
        of_image = remove(Image.open(tmp_path / "photo.png"), remover, **options)
        assert np.array_equal(np.asarray(of_file), np.asarray(of_image)), photo.mode
        if not options: assert np.asarray(of_image)[..., 3].max() == 200


def test_beside_an_asynchronous_program():
    async def main(): return await asyncio.gather(*(asyncio.to_thread(remove, pixels, remover)
                                                    for _ in range(4)))
    first, *others = asyncio.run(main())
    assert all(np.array_equal(first, other) for other in others)


def test_the_door_opens_only_what_is_asked_for():
    code = ("import sys, bg_remover; assert 'numpy' not in sys.modules; bg_remover.Remover; "
            "print('tensorflow' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True).stdout.strip() == "False"
    for name in bg_remover.__all__: assert callable(getattr(bg_remover, name))
    with pytest.raises(AttributeError, match="nothing"): bg_remover.nothing


def test_crop_keep_and_feather_mean_the_same_for_arrays_and_files():
    for options in (dict(crop=True), dict(keep="background"), dict(feather=2.0),
                    dict(crop=True, background="teal")):
        array, data = remove(pixels, remover, **options), remove(as_file(pixels), remover,
                                                                 **options)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), array), options
