"""A folder one can trust: names, resuming, kills, crashes, full disks, loops, two runs at once.
The network is a stand-in where quality plays no part."""
import concurrent.futures
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bg_remover.base import files
from bg_remover import removal
from bg_remover.tool import folders
from bg_remover.base.errors import FolderError
from bg_remover.tool.folders import (Record, find_photos, is_finished, output_path, remove_file,
                                     remove_folder)
from bg_remover.images import read_image, write_image
from bg_remover.base.network import ModelError, shipped_model
from bg_remover.removal import Remover
from bg_remover.tool.photos import Request
from stand_in import BrightRemover as Stub

samples = Path(__file__).resolve().parents[2] / "nbs/samples/mini_coco/val2017"
somebody = samples / "000000343937.jpg"
on_unix = pytest.mark.skipif(os.name == "nt", reason="needs signals and file systems as Unix has "
                             "them")


def write_photo(path: Path, shade: int = 200, width: int = 12):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((10, width, 3), shade, np.uint8))


@pytest.fixture
def photos(tmp_path) -> Path:
    "Two photos of one name, one in a folder, one with nobody, one broken, and what is no photo."
    folder = tmp_path / "photos"
    for name in ("a.jpg", "a.png", "in here/a.jpg", "in here/deeper/ü 人.webp"):
        write_photo(folder / name)
    write_photo(folder / "dark.png", shade=20)
    (folder / "broken.jpg").write_bytes((folder / "a.jpg").read_bytes()[:200])
    (folder / "notes.txt").write_text("no photo")
    write_photo(folder / ".hidden.png")
    write_photo(folder / ".thumbnails/a.png")
    return folder


whole = {"a.jpg.png", "a.png.png", "in here/a.jpg.png", "in here/deeper/ü 人.webp.png"}


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
            and path.name != ".bg_remover.json"}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_in(folder)}


def verdicts(records) -> dict[str, list[str]]:
    "Verdict → file names."
    found = {}
    for record in records: found.setdefault(record.verdict, []).append(record.path.name)
    return {verdict: sorted(names) for verdict, names in found.items()}


# --- the whole of it

def test_a_folder(photos, tmp_path):
    before = contents(photos)
    records = list(remove_folder(photos, tmp_path / "out", Stub()))
    assert verdicts(records) == {"done": ["a.jpg", "a.jpg", "a.png", "ü 人.webp"],
                                 "nobody": ["dark.png"], "failed": ["broken.jpg"]}
    assert files_in(tmp_path / "out") == whole | {"nobody.txt"}
    assert contents(photos) == before
    for record in records:
        assert record.milliseconds > 0 and (record.output is not None) == (record.verdict == "done")
        assert ("broken.jpg: " in record.error) == (record.verdict == "failed")
        assert record.share == (record.verdict == "done")
        if record.output: assert np.asarray(Image.open(record.output)).shape == (10, 12, 4)


def test_again(photos, tmp_path):
    list(remove_folder(photos, tmp_path / "out", Stub()))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = list(remove_folder(photos, tmp_path / "out", Stub()))
    assert verdicts(again) == {"skipped": ["a.jpg", "a.jpg", "a.png", "dark.png", "ü 人.webp"],
                               "failed": ["broken.jpg"]}
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    anew = list(remove_folder(photos, tmp_path / "out", Stub(), overwrite=True))
    assert verdicts(anew) == {"done": ["a.jpg", "a.jpg", "a.png", "ü 人.webp"],
                              "nobody": ["dark.png"], "failed": ["broken.jpg"]}
    assert (tmp_path / "out/nobody.txt").read_text() == "dark.png\n"


def test_records_come_as_they_finish(photos, tmp_path):
    records = remove_folder(photos, tmp_path / "out", Stub())
    next(records)
    assert len(files_in(tmp_path / "out")) == 1
    records.close()
    assert len(files_in(tmp_path / "out")) == 1


@pytest.mark.parametrize("how, mode",
                         [(dict(format="webp"), ("RGB", "RGBA")), (dict(mask=True), "L"),
                          (dict(format="jpg", background="blur"), "RGB"),
                          (dict(background=(1, 2, 3)), "RGB")])
def test_what_may_be_asked_for(photos, tmp_path, how, mode):
    records = [record for record in remove_folder(photos, tmp_path / "out", Stub(), **how)
               if record.output]
    assert len(records) == 4
    for record in records:
        assert record.output.suffix == "." + how.get("format", "png")
        assert Image.open(record.output).mode in mode


def test_a_background_photo_is_read_once(photos, tmp_path, monkeypatch):
    write_photo(tmp_path / "backdrop.png", shade=77)
    read, asked = removal.as_image, []
    monkeypatch.setattr(removal, "as_image", lambda photo: asked.append(photo) or read(photo))
    assert len([record
                for record in remove_folder(photos, tmp_path / "out", Stub(),
                                            background=tmp_path / "backdrop.png")
                if record.output]) == 4
    assert [photo for photo in asked if isinstance(photo, Path)] == [tmp_path / "backdrop.png"]


@pytest.mark.parametrize("how, error",
                         [(dict(format="jpg"), ValueError), (dict(format="gif"), ValueError),
                          (dict(mask=True, background=(1, 2, 3)), ValueError),
                          (dict(background=(1, 2, 300)), ValueError),
                                        (dict(background="nowhere.jpg"), FileNotFoundError),
                          (dict(colour="red"), TypeError)])
def test_a_wrong_wish_is_refused_at_once(photos, tmp_path, how, error):
    with pytest.raises(error): remove_folder(photos, tmp_path / "out", Stub(), **how)
    with pytest.raises(error): remove_file(photos / "a.jpg", tmp_path / "a.png", Stub(), **how)
    assert not (tmp_path / "out").exists()


def test_a_wrong_model_is_refused_at_once(photos, tmp_path):
    with pytest.raises(ModelError, match="nowhere.onnx"):
        remove_folder(photos, tmp_path / "out", tmp_path / "nowhere.onnx")


def test_an_open_network_stays_in_its_process(photos, tmp_path):
    with pytest.raises(TypeError, match="onnx file"):
        remove_folder(photos, tmp_path / "out", Remover(), workers=2)


def test_an_empty_folder(tmp_path):
    (tmp_path / "photos").mkdir()
    assert list(remove_folder(tmp_path / "photos", tmp_path / "out", Stub())) == []


# --- one file

def test_one_file(photos, tmp_path):
    stub, dest = Stub(), tmp_path / "new/a.webp"
    assert remove_file(photos / "a.jpg", dest,
                       stub).verdict == "done" and Image.open(dest).format == "WEBP"
    assert remove_file(photos / "a.jpg", dest, stub) == Record(photos / "a.jpg", dest, "skipped")
    assert remove_file(photos / "dark.png", dest, stub).verdict == "skipped"
    # what is there now would be another photo's
    assert remove_file(photos / "dark.png", dest, stub,
                       overwrite=True).verdict == "nobody" and not dest.exists()
    missing = remove_file(photos / "missing.jpg", dest, stub)
    assert (missing.verdict, missing.output) == ("failed", None) and "missing.jpg" in missing.error


def test_a_photo_is_never_its_own_result(photos):
    before = contents(photos)
    for dest in (photos / "a.png", photos / "in here/../a.png"):
        with pytest.raises(FolderError, match="the photo itself"):
            remove_file(photos / "a.png", dest, Stub(), overwrite=True)
    assert contents(photos) == before


# --- names

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1,
                max_size=90).filter(lambda name: name not in (".", ".."))


@given(names, names, st.sampled_from(["png", "webp", "jpg"]))
@settings(max_examples=300, deadline=None)
def test_no_two_photos_share_a_result(one, other, form):
    results = [output_path(Path("folder") / name, form) for name in (one, other)]
    assert (results[0] == results[1]) == (one == other)
    for result in results:
        assert result.parent == Path("folder") and result.suffix == f".{form}"
        assert len(os.fsencode(result.name)) <= 255


@pytest.mark.parametrize("length", [248, 251, 252, 255])
def test_the_longest_names(tmp_path, length):
    for letter in "ab": write_photo(tmp_path / "photos" / ("x" * (length - 5) + letter + ".png"))
    assert verdicts(remove_folder(tmp_path / "photos", tmp_path / "out", Stub(),
                                  format="webp"))["done"] and len(files_in(tmp_path / "out")) == 2
    assert list(verdicts(remove_folder(tmp_path / "photos", tmp_path / "out", Stub(),
                                       format="webp"))) == ["skipped"]


@on_unix
def test_a_name_that_is_no_text(tmp_path):
    (tmp_path / "photos").mkdir()
    write_photo(tmp_path / "one.png")
    try: os.rename(tmp_path / "one.png", os.fsencode(tmp_path / "photos") + b"/\xff\xfe.png")
    except OSError: pytest.skip("this file system takes no such names")
    assert list(verdicts(remove_folder(tmp_path / "photos", tmp_path / "out", Stub()))) == ["done"]


@on_unix
def test_names_that_a_disk_takes_for_one(tmp_path, monkeypatch):
    for number, name in enumerate(("IMG_1.png", "img_1.PNG", "\u00e9.png", "e\u0301.png",
                                   "other.png")):
        write_photo(tmp_path / "photos" / name, shade=150 + 20 * number)
    plain = {record.output.name
             for record in remove_folder(tmp_path / "photos", tmp_path / "apart", Stub())}
    # this disk keeps them apart
    assert plain == {"IMG_1.png.png", "img_1.PNG.png", "\u00e9.png.png", "e\u0301.png.png",
                     "other.png.png"}
    monkeypatch.setattr(folders, "_folding", lambda folder: (True, True))
    for verdict in ("done", "skipped"):
        records = list(remove_folder(tmp_path / "photos", tmp_path / "out", Stub()))
        assert {record.verdict for record in records} == {verdict}
        assert len({unicodedata.normalize("NFC", record.output.name.lower())
                    for record in records}) == 5
    assert "other.png.png" in files_in(tmp_path / "out")


def test_the_disk_is_asked_what_it_takes_for_one_name(tmp_path):
    (tmp_path / "a").touch()
    assert folders._folding(tmp_path)[0] == (tmp_path / "A").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


# --- where photos and results lie

def test_any_name_is_found(tmp_path):
    write_photo(tmp_path / "photo.jpg")
    (tmp_path / "photos").mkdir()
    endings = "jfif pjpeg jif apng dib j2k heics avifs backup".split()
    for ending in endings: shutil.copy(tmp_path / "photo.jpg", tmp_path / f"photos/a.{ending}")
    shutil.copy(tmp_path / "photo.jpg", tmp_path / "photos/no ending")
    (tmp_path / "photos/notes.md").write_text("GIF, BM and other words")
    assert len(verdicts(remove_folder(tmp_path / "photos", tmp_path / "out",
                                      Stub()))["done"]) == len(endings) + 1
    (tmp_path / "photos/notes.md").unlink()


def test_what_cannot_be_processed_is_reported(photos, tmp_path):
    for name, data in (("film.mov", b"\0\0\0\x14ftypqt  \0\0\0\0qt  "),
                       ("IMG.CR3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom"),
                       ("IMG.raf", b"FUJIFILMCCD-RAW 0201"), ("x.psd", b"8BPS\0\1\0\0")):
        (photos / name).write_bytes(data)
    failed = {record.path.name: record.error
              for record in remove_folder(photos, tmp_path / "out", Stub())
              if record.verdict == "failed"}
    assert "a film" in failed["film.mov"] and "Photoshop" in failed["x.psd"]
    assert "raw" in failed["IMG.CR3"] and "raw" in failed["IMG.raf"]
    assert set(failed) == {"broken.jpg", "film.mov", "IMG.CR3", "IMG.raf", "x.psd"}


# --- what is there already

in_the_way = {"text": b"my notes", "a JPEG": None, "empty": b""}


@pytest.mark.parametrize("content", in_the_way)
def test_nothing_is_replaced_unasked(photos, tmp_path, content):
    data = (photos / "a.jpg").read_bytes() if in_the_way[content] is None else in_the_way[content]
    dest = tmp_path / "out/a.png.png"
    dest.parent.mkdir()
    dest.write_bytes(data)
    with pytest.raises(FileExistsError, match="already exists; use overwrite=True"):
        remove_file(photos / "a.jpg", dest, Stub())
    found = {record.path.name: record for record in remove_folder(photos, tmp_path / "out", Stub())}
    assert found["a.png"].verdict == "failed" and "already exists" in found["a.png"].error
    assert dest.read_bytes() == data
    anew = verdicts(remove_folder(photos, tmp_path / "out", Stub(), overwrite=True))
    assert anew["failed"] == ["broken.jpg"] and is_finished(dest)


@on_unix
def test_links_pipes_and_modes_stay_what_they_are(photos, tmp_path):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real/target.png"
    target.write_bytes(b"old")
    target.chmod(0o640)
    os.symlink("real/target.png", tmp_path / "link.png")
    os.symlink("nowhere.png", tmp_path / "dead.png")
    for name in ("link.png", "dead.png"):
        with pytest.raises(FileExistsError): remove_file(photos / "a.jpg", tmp_path / name, Stub())
    assert target.read_bytes() == b"old"
    assert remove_file(photos / "a.jpg", tmp_path / "link.png", Stub(),
                       overwrite=True).verdict == "done"
    assert (tmp_path / "link.png").is_symlink() and is_finished(target)
    assert target.stat().st_mode & 0o777 == 0o640
    os.mkfifo(tmp_path / "pipe.png")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe.png").read_bytes()))
    reader.start()
    assert remove_file(photos / "a.jpg", tmp_path / "pipe.png", Stub()).verdict == "done"
    reader.join(10)
    assert got == [target.read_bytes()] and (tmp_path / "pipe.png").is_fifo()


def test_a_result_with_a_large_ending_is_found_again(photos, tmp_path):
    for verdict in ("done", "skipped"):
        assert remove_file(photos / "a.jpg", tmp_path / "A.PNG", Stub()).verdict == verdict


@pytest.mark.parametrize("name, form", [("a.jpeg", "jpg"), ("a.png", "webp"), ("a", "png")])
def test_an_ending_that_is_not_the_form_is_refused(photos, tmp_path, name, form):
    how = dict(background=(1, 2, 3), format=form)
    for wanted in (dict(request=Request(**how)), how):
        with pytest.raises(ValueError, match=rf"{name}: does not end in \.{form}"):
            remove_file(photos / "a.jpg", tmp_path / name, Stub(), **wanted)
    assert not (tmp_path / name).exists() and not is_finished(photos / "x.jpeg")


def test_a_request_and_other_wishes_are_refused(photos, tmp_path):
    for call in (lambda **how: remove_file(photos / "a.jpg", tmp_path / "a.png", Stub(), **how),
                 lambda **how: remove_folder(photos, tmp_path / "out", Stub(), **how)):
        with pytest.raises(TypeError, match="request and mask: give one of the two"):
            call(request=Request(), mask=True)
    assert not (tmp_path / "a.png").exists() and not (tmp_path / "out").exists()


def test_empty_names_are_refused(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(photos)
    before = contents(photos)
    for call in (lambda: remove_folder("", tmp_path / "out", Stub()),
                 lambda: remove_folder(photos, "", Stub()),
                 lambda: remove_file("", "a.png", Stub()),
                 lambda: remove_file("a.jpg", "", Stub()),
                 lambda: remove_folder(photos, tmp_path / "out", Stub(), background="")):
        with pytest.raises(ValueError, match="name is empty"): call()
    assert contents(photos) == before and not (tmp_path / "out").exists()

def test_results_inside_are_no_photos(photos):
    for _ in range(2): list(remove_folder(photos, photos / "results", Stub()))
    assert files_in(photos / "results") == whole | {"nobody.txt"}


@pytest.mark.parametrize("dest", [".", "in here/..", ".."])
def test_results_among_the_photos_are_refused(photos, dest):
    before = contents(photos.parent)
    with pytest.raises(FolderError, match="contains the photos"):
        remove_folder(photos, photos / dest, Stub())
    assert contents(photos.parent) == before


@on_unix
def test_results_through_a_link_are_seen_through(photos, tmp_path):
    os.symlink(photos, tmp_path / "link")
    with pytest.raises(FolderError, match="contains the photos"):
        remove_folder(photos, tmp_path / "link", Stub())


@pytest.mark.parametrize("source", ["missing", "a.jpg"])
def test_no_folder_of_photos(photos, tmp_path, source):
    with pytest.raises(FolderError, match="no such folder"):
        remove_folder(photos / source, tmp_path / "out", Stub())


def test_results_cannot_go_into_a_file(photos, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(FolderError, match="cannot be a folder"):
        remove_folder(photos, tmp_path / "out", Stub())


@on_unix
def test_links(photos, tmp_path):
    write_photo(tmp_path / "elsewhere/b.jpg")
    os.symlink(photos, photos / "in here/loop")
    os.symlink(tmp_path / "elsewhere", photos / "elsewhere")
    os.symlink(tmp_path / "elsewhere/b.jpg", photos / "linked.jpg")
    os.symlink("nowhere.jpg", photos / "dead.jpg")
    os.symlink("itself.jpg", photos / "itself.jpg")
    found = verdicts(remove_folder(photos, tmp_path / "out", Stub()))
    assert found == {"done": ["a.jpg", "a.jpg", "a.png", "linked.jpg", "ü 人.webp"],
                     "nobody": ["dark.png"], "failed": ["broken.jpg", "dead.jpg", "itself.jpg"]}


@on_unix
def test_what_only_looks_like_a_photo(photos):
    os.mkfifo(photos / "pipe.jpg") # reading it would wait for ever
    (photos / "folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as ear:
        os.chdir(photos)
        ear.bind("socket.jpg")
        assert not {"pipe.jpg", "folder.jpg",
                    "socket.jpg"} & {path.name for path in find_photos(photos)}


def test_a_folder_that_cannot_be_read_is_reported(photos, tmp_path, monkeypatch):
    look = os.scandir

    def refuse(path):
        if str(path).endswith("in here"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", refuse)
    records = {record.path.name: record
               for record in remove_folder(photos, tmp_path / "out", Stub())}
    assert records["in here"].verdict == "failed" and records["a.jpg"].verdict == "done"


def test_a_result_that_is_in_the_way_is_one_photos_affair(photos, tmp_path):
    (tmp_path / "out/a.jpg.png/inside").mkdir(parents=True)
    found = verdicts(remove_folder(photos, tmp_path / "out", Stub()))
    assert found["failed"] == ["a.jpg", "broken.jpg"] and len(found["done"]) == 3
    assert files_in(tmp_path / "out") == whole - {"a.jpg.png"} | {"nobody.txt"}


# --- what counts as finished

@pytest.mark.parametrize("form, options",
                         [("png", {}), ("webp", {}), ("jpg", dict(background="blur"))])
def test_only_a_whole_file_is_finished(photos, tmp_path, form, options):
    path = remove_file(photos / "a.jpg", tmp_path / f"a.{form}", Stub(), **options).output
    data = path.read_bytes()
    assert is_finished(path)
    for part in (b"", data[:1], data[:20], data[:-1], b"x" + data[1:], b"text"):
        path.write_bytes(part)
        assert not is_finished(path)
        with pytest.raises(FileExistsError, match="overwrite=True"):
            remove_file(photos / "a.jpg", path, Stub(), **options)
        assert path.read_bytes() == part
        assert remove_file(photos / "a.jpg", path, Stub(), overwrite=True,
                           **options).verdict == "done" and path.read_bytes() == data
    assert not is_finished(tmp_path / f"missing.{form}") and not is_finished(tmp_path)


@pytest.mark.parametrize("form, options",
                         [("png", {}), ("webp", {}), ("jpg", dict(background="blur"))])
def test_bytes_behind_the_end_do_not_make_a_file_half(photos, tmp_path, form, options):
    path = remove_file(photos / "a.jpg", tmp_path / f"a.{form}", Stub(), **options).output
    path.write_bytes(path.read_bytes() + b"a film, as some phones add it")
    before = path.read_bytes()
    assert remove_file(photos / "a.jpg", path, Stub(),
                       **options).verdict == "skipped" and path.read_bytes() == before


def test_results_of_an_earlier_run_are_no_photos(photos):
    list(remove_folder(photos, photos / "cutouts", Stub()))
    records = list(remove_folder(photos, photos / "masks", Stub(), mask=True))
    assert files_in(photos / "masks") == whole | {"nobody.txt"}
    assert not [record for record in records if "cutouts" in str(record.path)]


@on_unix
def test_a_name_of_two_lines_is_not_two_names(tmp_path):
    write_photo(tmp_path / "photos/x\nb.png", shade=20)
    assert verdicts(remove_folder(tmp_path / "photos", tmp_path / "out",
                                  Stub())) == {"nobody": ["x\nb.png"]}
    write_photo(tmp_path / "photos/b.png")
    assert verdicts(remove_folder(tmp_path / "photos", tmp_path / "out",
                                  Stub())) == {"done": ["b.png"], "nobody": ["x\nb.png"]}


def test_leftovers_of_the_dead_go_those_of_the_living_stay(photos, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    out = tmp_path / "out/in here"
    out.mkdir(parents=True)
    mine, its, elsewhere = (out / f".{machine}-{process}-0123abcd.part"
                            for machine, process in ((files._machine, os.getpid()),
                                                     (files._machine, dead.pid),
                                                     ("another_machine", dead.pid)))
    for part in (mine, its, elsewhere, out / ".somebody_elses.part", out / "notes.part"):
        part.touch()
    list(remove_folder(photos, tmp_path / "out", Stub()))
    left = {path.name for pattern in (".*", "*.part") for path in out.glob(pattern)}
    assert left == {mine.name, elsewhere.name, ".somebody_elses.part", "notes.part"}


def test_results_of_other_wishes_are_not_taken_for_these(photos, tmp_path):
    list(remove_folder(photos, tmp_path / "out", Stub()))
    before = contents(tmp_path / "out")
    for how, name in ((dict(mask=True), "mask"), (dict(format="webp"), "format"),
                      (dict(background=(1, 2, 3)), "background"),
                      (dict(background=photos / "a.png"), "background"),
                      (dict(keep_metadata=True), "keep_metadata")):
        with pytest.raises(FolderError, match=f"made with other settings.*{name} was .*overwrite"):
            remove_folder(photos, tmp_path / "out", Stub(), **how)
    with pytest.raises(FolderError, match="network was BrightRemover.*, now "):
        remove_folder(photos, tmp_path / "out")
    assert contents(tmp_path / "out") == before
    # what it does not change, it may
    assert verdicts(remove_folder(photos, tmp_path / "out", Stub(), largest=10**7))["skipped"]
    stopped = remove_folder(photos, tmp_path / "out", Stub(), mask=True, overwrite=True)
    next(stopped)
    stopped.close() # now it holds both kinds
    for how in (dict(mask=True), {}):
        with pytest.raises(FolderError, match="made with other settings"):
            remove_folder(photos, tmp_path / "out", Stub(), **how)
    assert verdicts(remove_folder(photos, tmp_path / "out", Stub(), mask=True,
                                  overwrite=True))["done"]
    assert verdicts(remove_folder(photos, tmp_path / "out", Stub(), mask=True))["skipped"]


def test_results_of_another_network_are_not_taken_for_these(photos, tmp_path):
    shutil.copy(shipped_model(), tmp_path / "same.onnx")
    (photos / "in here/a.jpg").write_bytes(somebody.read_bytes())
    networks = Remover(), Remover(careful=True), Remover()
    networks[2].threshold = 0.9
    assert verdicts(remove_folder(photos, tmp_path / "out", networks[0]))["done"] == ["a.jpg"]
    for same in (Remover(), None, tmp_path / "same.onnx"):
        assert verdicts(remove_folder(photos, tmp_path / "out", same))["skipped"]
    for other in networks[1:]:
        with pytest.raises(FolderError, match="network was .*, now"):
            remove_folder(photos, tmp_path / "out", other)
    with pytest.raises(FolderError, match="network was .*, now careful"):
        remove_folder(photos, tmp_path / "out", careful=True)


# --- disks

@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_disk_that_takes_no_more_stops_the_folder(photos, tmp_path, monkeypatch, number):
    write, written = Path.write_bytes, []

    def full(self, data):
        written.append(self)
        if len(written) < 4: return write(self, data)
        write(self, data[:5])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", full)
    records = []
    with pytest.raises(FolderError, match=f"cannot be written .{os.strerror(number)}.*try again"):
        for record in remove_folder(photos, tmp_path / "out", Stub()): records.append(record)
    assert len(written) == 4 and verdicts(records)["done"] == ["a.jpg", "a.png"]
    monkeypatch.undo()
    assert files_in(tmp_path / "out") == {"a.jpg.png", "a.png.png", "nobody.txt"}
    assert verdicts(remove_folder(photos, tmp_path / "out", Stub()))["done"] == ["a.jpg",
                                                                                 "ü 人.webp"]


@on_unix
def test_a_file_that_gets_too_large(photos, tmp_path):
    "A limit on the size of files: the system stops a write in its middle."
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(128, 256, (90, 90, 3), np.uint8)).save(photos / "b.png")
    code = ("import resource, signal, sys; sys.path.insert(0, sys.argv[3])\nfrom stand_in import "
            "BrightRemover as Stub\nfrom bg_remover.tool.folders import remove_folder\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
            "records = remove_folder(sys.argv[1], sys.argv[2], Stub())\n"
            "print([record.error for record in records if record.path.name == 'b.png'])")
    done = subprocess.run([sys.executable, "-c", code, photos, tmp_path / "out",
                           Path(__file__).parents[1]], capture_output=True, text=True)
    assert "File too large" in done.stdout + done.stderr
    assert all(is_finished(tmp_path / "out" / name)
               for name in files_in(tmp_path / "out") - {"nobody.txt"})
    assert not list((tmp_path / "out").rglob("*.part"))


@pytest.fixture
def small_disk(tmp_path) -> Path:
    "A real disk of 128 kB, where one may mount it."
    disk = tmp_path / "disk"
    disk.mkdir()
    if not (mount := shutil.which("mount")) or subprocess.run([mount, "-t", "tmpfs", "-o",
                                                               "size=128k", "tmpfs", disk],
                                                              capture_output=True).returncode:
        pytest.skip("mounting a disk takes rights that this user has not")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@on_unix
def test_a_disk_that_is_really_full(photos, small_disk):
    rng = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(rng.integers(128, 256, (80, 80, 3),
                                     np.uint8)).save(photos / f"noise{number:02}.png")
    records = []
    with pytest.raises(FolderError, match="No space left on device.*try again"):
        for record in remove_folder(photos, small_disk / "out", Stub()): records.append(record)
    made = {record.output for record in records if record.verdict == "done"}
    assert made and made == set((small_disk / "out").rglob("*.png")) and all(Image.open(path).load()
                                                                             for path in made)
    assert not list(small_disk.rglob("*.part"))


@on_unix
def test_a_disk_that_is_really_read_only(photos, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(FolderError, match="Read-only file system"):
        remove_folder(photos, small_disk / "out", Stub())
    with pytest.raises(FolderError, match="Read-only file system"):
        remove_file(photos / "a.jpg", small_disk / "a.png", Stub())


@on_unix
def test_a_photo_that_may_not_be_read_is_its_own_affair(photos, tmp_path, monkeypatch):
    (photos / "a.png").chmod(0)
    if os.access(photos / "a.png", os.R_OK): # an administrator may read anything
        read = Path.read_bytes
        def refuse(path):
            if path.name == "a.png":
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return read(path)
        monkeypatch.setattr(Path, "read_bytes", refuse)
    records = {record.path.name: record
               for record in remove_folder(photos, tmp_path / "out", Stub())}
    assert records["a.png"].verdict == "failed" and "a.png" in records["a.png"].error
    assert "Permission denied" in records["a.png"].error
    assert records["a.jpg"].verdict == "done" and "a.png.png" not in files_in(tmp_path / "out")


# --- many at a time

def test_processes_do_what_this_one_does(tmp_path):
    for name in ("a.jpg", "b/c.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(somebody.read_bytes())
    write_photo(tmp_path / "photos/nobody.png", shade=128)
    (tmp_path / "photos/bad.jpg").write_bytes(b"bad")
    alone, together = (list(remove_folder(tmp_path / "photos", tmp_path / f"out{workers}",
                                          workers=workers)) for workers in (1, 2))
    assert verdicts(alone) == verdicts(together) == {"done": ["a.jpg", "c.jpg"],
                                                     "nobody": ["nobody.png"],
                                                     "failed": ["bad.jpg"]}
    for name in ("a.jpg.png", "b/c.jpg.png"): # one thread or two may round differently
        one, other = (np.asarray(Image.open(tmp_path / folder / name)).astype(int)
                      for folder in ("out1", "out2"))
        assert np.abs(one - other).max() <= 2


@on_unix
def test_a_photo_that_kills_its_worker_stops_nothing(photos, tmp_path):
    write_photo(photos / "killer.png", width=13)
    for number in range(20): write_photo(photos / f"z{number:02}.png")
    found = verdicts(remove_folder(photos, tmp_path / "out", Stub(), workers=2))
    assert found["failed"] == ["broken.jpg", "killer.png"] and found["nobody"] == ["dark.png"]
    assert files_in(tmp_path / "out") == whole | {"nobody.txt"} | {f"z{number:02}.png.png"
                                                                   for number in range(20)}
    assert sum(len(names) for names in found.values()) == 27


@pytest.mark.parametrize("executor", [concurrent.futures.ThreadPoolExecutor])
def test_any_executor_does(photos, tmp_path, executor):
    with executor(3) as pool:
        found = verdicts(remove_folder(photos, tmp_path / "out", Stub(), executor=pool))
        assert pool.submit(int).result() == 0 # it is not ours to close
    assert len(found["done"]) == 4 and files_in(tmp_path / "out") == whole | {"nobody.txt"}


def test_the_line_is_short(tmp_path):
    "However large the folder, only a few photos are under way."
    for number in range(60): write_photo(tmp_path / f"photos/{number:03}.png")
    waiting, most, lock = 0, 0, threading.Lock()

    class Counting(concurrent.futures.ThreadPoolExecutor):
        def submit(self, *call):
            nonlocal waiting, most
            with lock: waiting += 1; most = max(most, waiting)
            future = super().submit(*call)
            future.add_done_callback(self.count_down)
            return future

        def count_down(self, _):
            nonlocal waiting
            with lock: waiting -= 1

    with Counting(2) as pool:
        assert len(list(remove_folder(tmp_path / "photos", tmp_path / "out", Stub(), executor=pool,
                                      workers=2))) == 60
    assert most <= 8


def test_workers_that_cannot_start_say_so(photos, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys\nfrom bg_remover.tool.folders import remove_folder\n"
                      "for record in remove_folder(*sys.argv[1:], workers=2): print(record)\n")
    done = subprocess.run([sys.executable, script, photos, tmp_path / "out"], capture_output=True,
                          text=True, timeout=120)
    last = done.stderr.splitlines()[-1]
    assert done.returncode and "__name__" in last and "FolderError" in last


# --- kill -9

runs = """
import sys; sys.path.insert(0, sys.argv[3])
from stand_in import BrightRemover as Stub
from bg_remover.tool.folders import remove_folder
if __name__ == "__main__":
    for record in remove_folder(sys.argv[1], sys.argv[2], Stub(0.02), workers=int(sys.argv[4])):
        print(record.verdict, flush=True)
"""


def start(script: Path, photos: Path, out: Path, workers: int = 1) -> subprocess.Popen:
    script.write_text(runs)
    return subprocess.Popen([sys.executable, script, photos, out, Path(__file__).parents[1],
                             str(workers)], stdout=subprocess.PIPE, text=True)


def children_of(process: int) -> list[int]:
    "The processes below a process."
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True,
                            text=True).stdout.split()
    found = [int(child) for child, parent in zip(listed[::2], listed[1::2])
             if int(parent) == process]
    return found + [grandchild for child in found for grandchild in children_of(child)]


def is_running(process: int) -> bool:
    try: return Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError: return False


def assert_they_end(processes: list[int]):
    deadline = time.time() + 30
    while any(map(is_running, processes)) and time.time() < deadline: time.sleep(0.05)
    assert not any(map(is_running, processes)), "a worker outlived its parent"


@on_unix
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_moment_and_started_again(photos, tmp_path, workers):
    for number in range(25):
        write_photo(photos / f"z{number:02}.png", shade=130 + 5 * number if number % 5 else 10)
    list(remove_folder(photos, tmp_path / "undisturbed", Stub()))
    for lines in (1, 9, 20): # killed once after so many records, each time further on
        run = start(tmp_path / "run.py", photos, tmp_path / "out", workers)
        for _ in range(lines): run.stdout.readline()
        workers_of_it = children_of(run.pid)
        run.kill()
        run.communicate()
        assert all(is_finished(path) for path in (tmp_path / "out").rglob("*.png"))
        assert_they_end(workers_of_it)
    # as if killed while it wrote
    (tmp_path / "out" / f".{files._machine}-{run.pid}-0123abcd.part").write_bytes(b"half a fi")
    records = list(remove_folder(photos, tmp_path / "out", Stub()))
    assert len(records) == 31 and verdicts(records)["failed"] == ["broken.jpg"]
    ours, undisturbed = contents(tmp_path / "out"), contents(tmp_path / "undisturbed")
    assert sorted(ours.pop("nobody.txt").split()) == sorted(undisturbed.pop("nobody.txt").split())
    assert ours == undisturbed


@on_unix
def test_who_died_and_was_not_mourned_is_dead(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    part = tmp_path / f".{files._machine}-{child.pid}-0123abcd.part"
    part.touch()
    # it has ended, but stays in the list of processes
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    if sys.platform == "linux":
        files.remove_leftovers(tmp_path)
        assert not part.exists()
    child.wait()
    part.touch()
    files.remove_leftovers(tmp_path)
    assert not part.exists()


@on_unix
def test_killed_while_it_writes(photos, tmp_path):
    code = ("import os, signal, sys; sys.path.insert(0, sys.argv[3])\nfrom stand_in import "
            "BrightRemover as Stub\nfrom bg_remover.tool.folders import remove_folder\n"
            "from bg_remover.base import files\nreplace = os.replace\ndef die(part, path):\n"
            "    if path.suffix == '.json': replace(part, path)\n"
            "    else: os.kill(os.getpid(), signal.SIGKILL)\n"
            "files.os.replace = die\nlist(remove_folder(sys.argv[1], sys.argv[2], Stub()))")
    assert subprocess.run([sys.executable, "-c", code, photos, tmp_path / "out",
                           Path(__file__).parents[1]]).returncode == -signal.SIGKILL
    assert [Path(name).suffix for name in files_in(tmp_path / "out")] == [".part"]
    list(remove_folder(photos, tmp_path / "out", Stub()))
    assert files_in(tmp_path / "out") == whole | {"nobody.txt"}


def test_two_runs_on_one_folder(photos, tmp_path):
    for number in range(25): write_photo(photos / f"z{number:02}.png", shade=130 + 5 * number)
    both = [start(tmp_path / f"run{number}.py", photos, tmp_path / "out") for number in range(2)]
    said = [run.communicate()[0].split() for run in both]
    assert [run.returncode for run in both] == [0, 0]
    for one in said: assert len(one) == 31 and one.count("failed") == 1
    list(remove_folder(photos, tmp_path / "undisturbed", Stub()))
    ours, undisturbed = contents(tmp_path / "out"), contents(tmp_path / "undisturbed")
    nobody, of_one = (set(found.pop("nobody.txt").split()) for found in (ours, undisturbed))
    assert nobody == of_one and ours == undisturbed


@on_unix
def test_ctrl_c_ends_it_with_its_workers(photos, tmp_path):
    for number in range(200): write_photo(photos / f"z{number:03}.png")
    run = start(tmp_path / "run.py", photos, tmp_path / "out", workers=2)
    for _ in range(5): run.stdout.readline()
    workers_of_it = children_of(run.pid)
    for process in (*workers_of_it, run.pid): os.kill(process, signal.SIGINT) # as a terminal does
    run.communicate(timeout=60)
    assert run.returncode
    assert_they_end(workers_of_it)
    assert 5 <= len(files_in(tmp_path / "out")) < 200
    assert not list((tmp_path / "out").rglob("*.part"))


def test_a_record_can_be_written_down(photos, tmp_path):
    for record in remove_folder(photos, tmp_path / "out", Stub()):
        json.dumps(vars(record), default=str)


def test_what_another_run_finishes_meanwhile_is_no_failure(photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    list(remove_folder(photos, out, Stub()))
    looked = []
    def late(path): # the first look at each result comes a moment too early
        looked.append(path)
        return looked.count(path) > 1 and is_finished(path)
    is_finished = folders.is_finished
    monkeypatch.setattr(folders, "is_finished", late)
    verdicts = [record.verdict for record in remove_folder(photos, out, Stub())]
    assert "done" in verdicts and verdicts.count("failed") == 1 # the damaged photo
