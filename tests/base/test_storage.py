"""Folders that lie in a store: a real S3 server on this machine, and fsspec's own store in
memory. Names, resuming, kills, two runs at once, bad addresses."""
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest

from bg_remover.base import storage
from bg_remover.tool import folders
from bg_remover.tool.folders import find_photos, remove_folder
from bg_remover.images import write_image
from bg_remover.base.errors import FolderError
from bg_remover.base.storage import names_in, open_folder, walk_store, write_whole
from stand_in import BrightRemover as Stub

root = Path(__file__).resolve().parents[2]
samples = root / "nbs/samples/mini_coco/val2017"


@pytest.fixture
def photos(tmp_path) -> Path:
    "Some photos, two of one name, two with nobody, one broken, one hidden."
    folder = tmp_path / "photos"
    for number, name in enumerate(("a.jpg", "a.png", "in here/a.jpg", "in here/deeper/ü 人 #1?.webp",
                                   "z%20.png", ".hidden/a.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / name, np.full((10, 12, 3), 150 + 10 * number, np.uint8))
    for name in ("dark.png", "in here/dark.png"):
        write_image(folder / name, np.full((10, 12, 3), 20, np.uint8))
    (folder / "broken.jpg").write_bytes((folder / "a.jpg").read_bytes()[:200])
    return folder


@pytest.fixture
def memory():
    "The store in this process, empty."
    store = fsspec.filesystem("memory")
    for place in (store.store, store.pseudo_dirs): place.clear()
    store.pseudo_dirs.append("")
    return "memory://bucket"


def copy(folder: Path, address: str):
    "A folder into a store, by nobody's code but fsspec's."
    store, path = fsspec.core.url_to_fs(address)
    for each in folder.rglob("*"):
        if each.is_file():
            store.pipe_file(f"{path}/{each.relative_to(folder).as_posix()}", each.read_bytes())


def contents(place: Path | str) -> dict[str, bytes]:
    "Every file by its name; those with nobody as a store has them."
    if isinstance(place, str):
        store, path = fsspec.core.url_to_fs(place)
        store.invalidate_cache()
        return {name.strip("/").removeprefix(path.strip("/") + "/"): store.cat_file(name)
                for name in store.find(path)}
    found = {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*")
             if path.is_file()}
    return found | {f"{name.decode()}.nobody": b""
                    for name in found.pop("nobody.txt", b"").split(b"\n") if name}


def verdicts(records) -> list[tuple]:
    return sorted((record.path.name, record.verdict, record.share) for record in records)


# --- the same as on a disk

@pytest.mark.parametrize("ends",
                         ["s3 to s3", "disk to s3", "s3 to disk", "memory to memory",
                          "memory to disk", "file to file"])
def test_a_store_is_as_good_as_a_disk(photos, tmp_path, s3, memory, ends):
    here = list(remove_folder(photos, tmp_path / "here", Stub()))
    bases = {"s3": f"{s3}/{ends}", "memory": memory, "disk": str(tmp_path / "other"),
             "file": (tmp_path / "other").as_uri()}
    source, dest = (f"{bases[end]}/{name}"
                    for end, name in zip(ends.split(" to "), ("photos", "cutouts")))
    if ends.startswith("disk"): source = str(photos)
    elif ends.startswith("file"): shutil.copytree(photos, tmp_path / "other/photos")
    else: copy(photos, source)
    there = list(remove_folder(source, dest, Stub()))
    assert verdicts(there) == verdicts(here) and [record.path.name
                                                  for record in there] == [record.path.name
                                                                           for record in here]
    made = contents(tmp_path / "other/cutouts" if ends.endswith(("disk", "file")) else dest)
    assert made == contents(tmp_path / "here")
    assert [record.output for record in there
            if record.error.startswith(f"ImageError: {record.path}: ")] == [None]
    again = list(remove_folder(source, dest, Stub()))
    assert [record.verdict for record in again
            if record.path.name != "broken.jpg"] == ["skipped"] * 7


def test_on_many_processes(photos, tmp_path, s3):
    copy(photos, f"{s3}/many/photos")
    here = list(remove_folder(photos, tmp_path / "here", Stub()))
    assert verdicts(remove_folder(f"{s3}/many/photos", f"{s3}/many/cutouts", Stub(),
                                  workers=2)) == verdicts(here)
    assert contents(f"{s3}/many/cutouts") == contents(tmp_path / "here")


def test_a_store_is_asked_by_the_folder(photos, memory, monkeypatch):
    for number in range(50): shutil.copy(photos / "a.png", photos / f"{number}.png")
    list(remove_folder(photos, f"{memory}/cutouts", Stub()))
    asked, store = [], type(fsspec.filesystem("memory"))
    for name in ("ls", "info", "exists", "cat_file", "pipe_file"):
        monkeypatch.setattr(store, name, lambda *arguments, real=getattr(store, name),
                            **more: asked.append(arguments[1]) or real(*arguments, **more))
    assert [record.verdict
            for record in remove_folder(photos, f"{memory}/cutouts", Stub())].count("skipped") == 57
    assert len(asked) < 15


def test_overwriting(photos, memory):
    list(remove_folder(photos, f"{memory}/cutouts", Stub()))
    before = contents(f"{memory}/cutouts")
    write_image(photos / "dark.png", np.full((10, 12, 3), 250, np.uint8))
    write_image(photos / "a.png", np.full((10, 12, 3), 5, np.uint8))
    found = {record.path.name: record.verdict
             for record in remove_folder(photos, f"{memory}/cutouts", Stub(), overwrite=True)}
    after = contents(f"{memory}/cutouts")
    assert found["dark.png"] in ("done", "nobody") and found["a.png"] == "nobody"
    assert after.keys() == before.keys() - {"dark.png.nobody", "a.png.png"} | {"dark.png.png",
                                                                               "a.png.nobody"}


def test_results_of_other_wishes_are_not_taken_for_these(photos, memory):
    list(remove_folder(photos, f"{memory}/cutouts", Stub()))
    before = contents(f"{memory}/cutouts")
    with pytest.raises(FolderError, match="mask was False, now True"):
        remove_folder(photos, f"{memory}/cutouts", Stub(), mask=True)
    assert contents(f"{memory}/cutouts") == before


@pytest.mark.parametrize("dest", ["photos", "photos/", ""])
def test_results_among_the_photos_are_refused_and_inside_are_no_photos(photos, memory, dest):
    copy(photos, f"{memory}/photos")
    with pytest.raises(FolderError, match="contains the photos"):
        remove_folder(f"{memory}/photos", f"{memory}/{dest}", Stub())
    assert contents(f"{memory}/photos") == contents(photos)
    for verdict in ("done", "skipped"):
        assert [record.verdict
                for record in remove_folder(f"{memory}/photos", f"{memory}/photos/results",
                                            Stub())].count(verdict) >= 5
    assert len(list(find_photos(f"{memory}/photos", open_folder(f"{memory}/photos/results")))) == 8


# --- names that only a store has

def test_results_of_an_earlier_run_are_no_photos(photos, memory):
    copy(photos, memory)
    list(remove_folder(memory, f"{memory}/cutouts", Stub()))
    records = list(remove_folder(memory, f"{memory}/masks", Stub(), mask=True))
    assert records and not [record for record in records if "cutouts" in str(record.path)]


def test_names_that_lead_elsewhere_are_left_out(photos, tmp_path, s3):
    import boto3
    keys = ["../up.png", "a//b.png", "/rooted.png", "x/../../up.png", "./dot.png", "good/fine.png",
            "looks like a folder.png/"]
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    photo = (photos / "a.png").read_bytes()
    for key in keys: client.put_object(Bucket="bucket", Key=f"odd/{key}", Body=photo)
    assert [str(path) for path in find_photos(f"{s3}/odd")] == [f"{s3}/odd/good/fine.png"]
    list(remove_folder(f"{s3}/odd", tmp_path / "deep/out", Stub()))
    assert sorted(path.name for path in tmp_path.rglob("*.png.png")) == ["fine.png.png"]


# --- interruption

def command(*arguments, environment: dict = {}, code: str = "") -> list:
    start = (f"{code}\nimport sys; from bg_remover.tool.cli import main; "
             "sys.argv[0] = 'bg-remover'; main()")
    return dict(args=[sys.executable, "-c", start, *map(str, arguments)],
                env={**os.environ, "PYTHONPATH": str(root)} | environment, text=True)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_the_command_killed_in_mid_job_goes_on_and_ends_as_if_nothing_had_been(tmp_path, s3):
    copy(samples, f"{s3}/killed/photos")
    running = subprocess.Popen(**command("remove", f"{s3}/killed/photos", f"{s3}/killed/cutouts"),
                               stderr=subprocess.PIPE)
    store, deadline = fsspec.filesystem("s3", use_listings_cache=False), time.monotonic() + 60
    while len(store.find("bucket/killed/cutouts")) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    running.kill()
    running.communicate()
    half = contents(f"{s3}/killed/cutouts")
    assert running.returncode == -signal.SIGKILL and 4 <= len(half) < 13
    done = subprocess.run(**command("remove", f"{s3}/killed/photos", f"{s3}/killed/cutouts"),
                          capture_output=True)
    assert done.returncode == 0 and f"{len(half) - 1} already done" in done.stderr, done.stderr
    list(remove_folder(samples, tmp_path / "undisturbed"))
    whole = contents(f"{s3}/killed/cutouts")
    assert whole == contents(tmp_path / "undisturbed") and half.items() <= whole.items()


run = """
import sys
from stand_in import BrightRemover as Stub
from bg_remover.tool.folders import remove_folder
for record in remove_folder(sys.argv[1], sys.argv[2], Stub(0.02)): print(record.verdict, flush=True)
"""


def test_two_runs_on_one_folder(photos, tmp_path, s3):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])}
    both = [subprocess.Popen([sys.executable, "-c", run, photos, f"{s3}/both"], env=environment,
                             stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [each.communicate()[0].split() for each in both]
    list(remove_folder(photos, tmp_path / "here", Stub()))
    assert [each.returncode for each in both] == [0, 0] and [len(each) for each in said] == [8, 8]
    assert contents(f"{s3}/both") == contents(tmp_path / "here")


def test_an_upload_that_fails_stops_the_folder_and_leaves_nothing(photos, memory, monkeypatch):
    store, records = type(fsspec.filesystem("memory")), []
    write = store.pipe_file

    def refuse(self, path, data, **more):
        if path.endswith("a.png.png"): raise ConnectionError("the store is gone")
        write(self, path, data, **more)

    monkeypatch.setattr(store, "pipe_file", refuse)
    with pytest.raises(FolderError, match="a.png.png: cannot be written .the store is gone.*try "
                       "again"):
        for record in remove_folder(photos, f"{memory}/cutouts", Stub()): records.append(record)
    assert contents(f"{memory}/cutouts").keys() == {".bg_remover.json",
                                                    "a.jpg.png"} and len(records) == 1


# --- what is asked for wrongly

def refused(**call) -> str:
    done = subprocess.run(**call, capture_output=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr


def test_one_line_says_what_is_wrong(photos, tmp_path, s3):
    without = {name: ""
               for name in ("AWS_ACCESS_KEY_ID",
                            "AWS_SECRET_ACCESS_KEY")} | dict(AWS_EC2_METADATA_DISABLED="true",
                                                             AWS_CONFIG_FILE="none",
                                                             AWS_SHARED_CREDENTIALS_FILE="none")
    assert "credentials" in refused(**command("remove", f"{s3}/photos", tmp_path / "out",
                                              environment=without))
    for missing in ("upath", "s3fs"):
        code = f"import sys; sys.modules['{missing}'] = None"
        assert "pip install universal-pathlib s3fs" in refused(**command("remove", f"{s3}/photos",
                                                                         tmp_path / "out",
                                                                         code=code))
    assert "one photo" not in refused(**command("remove", photos / "a.jpg", f"{s3}/a.png"))


def test_bad_addresses(photos, tmp_path, s3, memory):
    for source, dest, said in ((f"{s3}/nowhere", tmp_path / "out", "nowhere: no such folder"),
                               ("s3://nobucket/photos", tmp_path / "out", "no such folder.*bucket "
                                "does not exist"),
                               (photos, "s3://nobucket/out", "cannot be written .*bucket"),
                               ("ftp://host/photos", tmp_path / "out", "address is not supported"),
                               (f"{memory}/none", tmp_path / "out", "no such folder")):
        with pytest.raises(FolderError, match=said): remove_folder(source, dest, Stub())


def test_a_store_that_does_not_answer_is_not_an_empty_one(memory, monkeypatch):
    place = open_folder(f"{memory}/photos")
    write_whole(place / "a.jpg", b"any")
    def silent(*_, **__): raise RuntimeError("no answer")
    for name in ("ls", "cat_file"): monkeypatch.setattr(type(place.fs), name, silent)
    for look in (lambda: list(walk_store(place)), lambda: names_in(place),
                 lambda: storage.read_whole(place / "a.jpg"),
                 lambda: storage.read_settings(place / storage.results_mark)):
        with pytest.raises(FolderError, match="no answer.*credentials"): look()
