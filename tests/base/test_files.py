"""Files: written whole or not at all, and found by the photo they belong to."""
import os
import subprocess
import sys

import pytest

from bg_remover.base import files
from bg_remover.base.files import write_bytes


def test_a_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "photo.png"
    path.write_bytes(b"old")

    def disk_full(self, data):
        with open(self, "wb") as file: file.write(data[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_bytes", disk_full)
    with pytest.raises(OSError, match="No space left"): write_bytes(path, b"new bytes")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["photo.png"]


def test_a_failure_while_renaming_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "photo.png"
    path.write_bytes(b"old")

    def refuse(*paths): raise PermissionError("in use")

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(PermissionError): write_bytes(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["photo.png"]


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(b"old")
    code = ("import os, signal, sys\nfrom bg_remover.base import files\n"
            "kill = getattr(signal, 'SIGKILL', signal.SIGTERM)\n"
            "files.os.replace = lambda *paths: os.kill(os.getpid(), kill)\n"
            "files.write_bytes(sys.argv[1], b'new')")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True)
    assert done.returncode != 0 and path.read_bytes() == b"old"


def test_only_folders_of_pairs_are_left_out_of_the_pictures(tmp_path):
    for name in ("cam0/a.jpg", "pairs/frames/b.jpg", "pairs/masks/b.png", "c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"a picture")
    for folder in ("cam0", "pairs"): (tmp_path / folder / "settings.json").write_text("{}")
    assert files.find_pictures(tmp_path).keys() == {"c", "cam0/a"}
