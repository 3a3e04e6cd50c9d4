"""Errors: one family, and what the system says is passed on with the file and a hint."""
import errno
import importlib
import inspect
import os
import subprocess
import sys

import pytest

import house
from bg_remover.base.errors import BgRemoverError, ImageError, explain_os_error, one_photo_lost


@pytest.mark.parametrize("name", house.modules)
def test_every_error_of_the_package_is_of_one_family(name):
    module = importlib.import_module(f"bg_remover.{name}")
    own = [each for _, each in inspect.getmembers(module, inspect.isclass)
           if each.__module__ == module.__name__ and issubclass(each, Exception)
           and not issubclass(each, Warning)
           and not each.__name__.startswith("_")]
    assert all(issubclass(each, BgRemoverError) for each in own), own


def test_the_family_is_at_the_door_and_costs_no_opencv():
    code = ("import sys; from bg_remover import BgRemoverError; "
            "print(BgRemoverError.__name__, 'cv2' in sys.modules, 'numpy' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["BgRemoverError", "False", "False"]


def test_the_system_is_quoted_with_file_and_hint():
    error = OSError(errno.EACCES, os.strerror(errno.EACCES), "a.png")
    assert explain_os_error(error).startswith(f"a.png: {os.strerror(errno.EACCES)} (ask its owner")
    assert explain_os_error(OSError("odd")) == "odd"


def test_a_photo_that_cannot_be_read_is_one_bad_photo_and_a_missing_one_a_mistake(tmp_path):
    with pytest.raises(ImageError, match="^a.jpg: "), one_photo_lost("a.jpg"):
        raise PermissionError(errno.EACCES, "Permission denied")
    missing = tmp_path / "b.jpg"
    with pytest.raises(FileNotFoundError), one_photo_lost(missing): missing.read_bytes()
    missing.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ImageError, match="a broken link"), one_photo_lost(missing):
        missing.read_bytes()
