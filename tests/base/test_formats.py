"""Formats: known by name, and the same wherever they are listed."""
import pytest

from bg_remover.base.formats import film_suffixes, is_photo_name, photo_suffixes, raw_suffixes
from bg_remover.base.formats import result_formats, without_ending


@pytest.mark.parametrize("name, bare", [
    ("cat.png", "cat"), ("cat.jpg.png", "cat"), ("Cat.JPEG", "Cat"), ("cat.v2.tif", "cat.v2"),
    ("cam0/1.jpg", "cam0/1"), ("cat.txt", "cat.txt"), ("jpg", "jpg"), ("cat", "cat"),
    ("cat.jpg.txt", "cat.jpg.txt")])
def test_a_name_without_its_endings(name, bare):
    assert without_ending(name) == bare and is_photo_name(name) == (name != bare)


def test_what_is_listed_is_a_suffix_and_in_one_list_only():
    every = (*photo_suffixes, *raw_suffixes, *film_suffixes)
    assert all(each.startswith(".") and each == each.lower() for each in every)
    assert len(set(every)) == len(every)


def test_results_are_photos_and_films_that_can_be_written():
    from bg_remover.tool import photos, video
    assert set(result_formats) == set(photos._save_options)
    assert {f".{each}" for each in result_formats} <= set(photo_suffixes)
    assert film_suffixes == tuple(video._film_formats)
