"""Masks against a plain oracle, damaged photos, and killed processes."""
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from bg_remover import data_prep
from bg_remover.base import files, storage
from bg_remover.base.errors import DataError
from bg_remover.data_prep import draw_mask, open_coco, person_ids, person_mask, prepare_pairs
from bg_remover.images import read_image, read_mask, resize_image, resize_mask, write_image

samples = Path(__file__).parents[2] / "nbs/samples/mini_coco"


# --- masks

def polygon_pixels(polygon: list[float], shape: tuple[int, int]) -> np.ndarray:
    "Even-odd rule at the centre of each pixel: slow, and another way than pycocotools'."
    rows, columns = np.indices(shape) + 0.5
    corners, inside = np.reshape(polygon, (-1, 2)), np.zeros(shape, bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, 1, 0)):
        if y0 != y1:
            inside ^= ((y0 > rows) != (y1 > rows)) & (columns < (x1 - x0) * (rows - y0) / (y1 - y0)
                                                      + x0)
    return inside


def run_pixels(counts: list[int], shape: tuple[int, int]) -> np.ndarray:
    flat = [pixel for index, count in enumerate(counts) for pixel in [index % 2] * count]
    return np.reshape(flat, shape, order="F").astype(bool)


@pytest.mark.parametrize("split", ["train", "val"])
def test_masks_are_the_union_that_a_plain_oracle_draws(split):
    coco = open_coco(samples, split)
    for image_id in person_ids(coco)[::3]:
        mask, annotations = person_mask(coco, image_id), data_prep.person_annotations(coco,
                                                                                      image_id)
        people, crowds, rims = np.zeros(mask.shape, bool), np.zeros(mask.shape,
                                                                    bool), np.zeros(mask.shape,
                                                                                    np.uint8)
        for annotation in annotations:
            if annotation["iscrowd"]:
                crowds |= run_pixels(annotation["segmentation"]["counts"], mask.shape)
            else:
                for polygon in annotation["segmentation"]:
                    people |= polygon_pixels(polygon, mask.shape)
                    cv2.polylines(rims, [np.reshape(polygon, (-1, 1, 2)).round().astype(int)], True,
                                  1, thickness=3)
        assert set(np.unique(mask)) <= {0, 128, 255}
        sure = rims == 0 # on an outline the two round differently
        assert np.array_equal((mask == 255)[sure], people[sure]) and people[sure].any()
        assert np.array_equal((mask == 128)[sure], (crowds & ~people)[sure])


def test_crowd_is_128_and_a_person_in_it_wins_whatever_the_order():
    person = dict(id=1, iscrowd=0, segmentation=[[1, 1, 3, 1, 3, 3, 1, 3]])
    # five columns of six
    crowd = dict(id=2, iscrowd=1, segmentation=dict(counts=[0, 30, 6], size=[6, 6]))
    expected = np.zeros((6, 6), np.uint8)
    expected[:, :5] = 128
    expected[1:3, 1:3] = 255
    for order in ([person, crowd], [crowd, person]):
        assert np.array_equal(draw_mask(order, (6, 6)), expected)


def test_compressed_runs_polygons_in_pieces_and_nobody():
    pieces = dict(id=1, iscrowd=0,
                  segmentation=[[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 4, 1, 4, 4, 1, 4]])
    mask = draw_mask([pieces], (6, 6))
    assert mask[0, 0] == mask[1, 1] == mask[3, 3] == 255 and mask[0, 3] == 0
    packed = data_prep.runs.encode(np.asfortranarray(mask // 255))
    assert np.array_equal(draw_mask([dict(id=1, iscrowd=0, segmentation=packed)], (6, 6)), mask)
    assert not draw_mask([], (6, 6)).any()


@pytest.mark.parametrize("size", [None, (256, 256), (90, 200), (700, 500)])
def test_a_mask_drawn_at_a_size_is_the_full_one_resized(size):
    coco = open_coco(samples, "val")
    for image_id in person_ids(coco)[::2]:
        # pycocotools' own way, crowds too
        people = [coco.annToMask(one) for one in data_prep.person_annotations(coco, image_id)]
        full, record = np.max(people, axis=0), coco.imgs[image_id]
        mask = draw_mask(data_prep.person_annotations(coco, image_id),
                         (record["height"], record["width"]), size)
        assert np.array_equal(mask > 0, (full if size is None else resize_mask(full, size)) > 0)


@pytest.mark.parametrize("segmentation",
                         [[], [[1, 2, 3, 4]], [["a", "b"]], dict(counts=[500], size=[6, 6]),
                          dict(counts=[4, 5], size=[3, 3])])
def test_a_damaged_annotation_is_named(segmentation):
    with pytest.raises(DataError, match="annotation 77 cannot be drawn"):
        draw_mask([dict(id=77, iscrowd=1, segmentation=segmentation)], (6, 6))


# --- pairs

def contents(folder: Path) -> dict[str, bytes]:
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for kind in ("frames", "masks")
            for path in (folder / kind).iterdir() if not path.name.startswith(".")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "An unbroken preparation of the val samples."
    return contents(prepare_pairs(samples, "val", tmp_path_factory.mktemp("whole")))


def copy_coco(tmp_path: Path) -> Path: return shutil.copytree(samples, tmp_path / "coco")


def test_pairs_have_one_size_and_only_the_three_values(whole):
    assert len(whole) == 2 * len(person_ids(open_coco(samples, "val")))
    for name, data in whole.items():
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert pixels.shape[:2] == (256, 256)
        if name.startswith("masks"):
            assert pixels.ndim == 2 and set(np.unique(pixels)) <= {0, 128, 255}


def test_native_size_keeps_photo_and_mask_as_they_are(tmp_path):
    dest = prepare_pairs(samples, "val", tmp_path, size=None, limit=2)
    coco = open_coco(samples, "val")
    for image_id in person_ids(coco, 2):
        name = f"{image_id:012}"
        photo = (samples / f"val2017/{name}.jpg").read_bytes()
        assert (dest / f"frames/{name}.jpg").read_bytes() == photo
        assert np.array_equal(read_mask(dest / f"masks/{name}.png"), person_mask(coco, image_id))


def test_a_frame_is_a_jpeg_whatever_the_photo_was(tmp_path):
    photo = np.full((8, 12, 3), 200, np.uint8)
    (tmp_path / "frames").mkdir(), (tmp_path / "masks").mkdir()
    for name in ("a.png", "b.jpg"): # by its bytes, not by its name
        path = tmp_path / name
        write_image(tmp_path / "photo.webp", photo)
        path.write_bytes((tmp_path / "photo.webp").read_bytes())
        data_prep.prepare_pair(data_prep.Job(path, [], (8, 12)), tmp_path, None)
        frame = tmp_path / f"frames/{path.stem}.jpg"
        assert frame.read_bytes()[:3] == b"\xff\xd8\xff"
        assert np.abs(read_image(frame).astype(int) - photo).max() <= 3


def test_size_is_height_then_width(tmp_path):
    dest = prepare_pairs(samples, "val", tmp_path, size=(40, 60), limit=1)
    assert read_mask(next((dest / "masks").iterdir())).shape == (40, 60)


@pytest.mark.parametrize("shape, size, factor", [
    ((480, 640), (256, 256), 2), ((427, 640), (256, 256), 1), ((460, 461), (256, 256), 1),
                                                 ((461, 461), (256, 256), 2),
    ((480, 640), (480, 640), 1), ((4000, 3000), (256, 256), 8), ((4000, 3000), (512, 512), 4),
                                                 ((90, 90), (256, 256), 1), ((480, 640), None, 1)])
def test_a_photo_is_decoded_smaller_where_that_is_enough(shape, size, factor):
    assert data_prep.decoding_factor(shape, size) == factor


@pytest.mark.parametrize("size, factor", [((200, 200), 2), ((100, 100), 4), ((50, 50), 8)])
def test_decoding_smaller_changes_little(size, factor):
    "Less than to skip pixels instead of averaging them, as a plain `cv2.resize` does."
    smaller, skipped = [], []
    for path in sorted((samples / "val2017").iterdir()):
        whole = read_image(path)
        if data_prep.decoding_factor(whole.shape[:2], size) > factor / 2:
            right = resize_image(whole, size).astype(int)
            smaller.append(np.abs(right - data_prep.read_frame(data_prep.Job(path, [],
                                                                             whole.shape[:2]),
                                                               size)).mean())
            skipped.append(np.abs(right - cv2.resize(whole, size[::-1])).mean())
    assert 0 < np.mean(smaller) < 4 and np.mean(smaller) < np.mean(skipped) # of 255


@pytest.mark.parametrize("name", ["odd.jpg", "odd.png"])
def test_a_photo_of_another_size_is_seen_though_it_was_decoded_smaller(tmp_path, name):
    write_image(tmp_path / name, np.zeros((203, 301, 3), np.uint8))
    assert data_prep.read_frame(data_prep.Job(tmp_path / name, [], (203, 301)),
                                (40, 40)).shape == (40, 40, 3)
    for wrong in ((301, 203), (203, 310), (190, 301)):
        with pytest.raises(DataError, match=r"odd.*the photo is \(203, 301\), its annotations say"):
            data_prep.read_frame(data_prep.Job(tmp_path / name, [], wrong), (40, 40))


def test_a_pair_that_lost_its_frame_is_made_again(tmp_path, whole):
    prepare_pairs(samples, "val", tmp_path)
    next((tmp_path / "frames").iterdir()).unlink()
    assert contents(prepare_pairs(samples, "val", tmp_path)) == whole


def test_what_a_killed_run_left_half_written_goes_but_not_what_another_writes_now(tmp_path):
    prepare_pairs(samples, "val", tmp_path, limit=1)
    dead = 2**22 + 1 # no process has a number that high
    old, new = (tmp_path / f"masks/.{files._machine}-{process}-0123abcd.part"
                for process in (dead, os.getpid()))
    for path in (old, new): path.write_bytes(b"half")
    prepare_pairs(samples, "val", tmp_path, limit=1)
    assert not old.exists() and new.exists()


class Immediate(Executor):
    "An executor that works at once and notes what it was given."
    def __init__(self): self.batches = []

    def submit(self, function, batch):
        self.batches.append(len(batch))
        future = Future()
        future.set_result(function(batch))
        return future


spawn = multiprocessing.get_context("spawn")

@pytest.mark.parametrize("make", [Immediate, lambda: ThreadPoolExecutor(3),
                                  lambda: ProcessPoolExecutor(2, spawn)])
def test_any_executor_makes_the_same_pairs(tmp_path, whole, make):
    executor = make()
    assert contents(prepare_pairs(samples, "val", tmp_path, executor=executor)) == whole
    if isinstance(executor, Immediate): assert sum(executor.batches) == len(whole) // 2
    executor.shutdown()


def test_missing_and_truncated_photos_are_named_and_the_rest_is_done(tmp_path, whole):
    root = copy_coco(tmp_path)
    lost, short, swapped = sorted((root / "val2017").iterdir())[-3:]
    lost.unlink()
    short.write_bytes(short.read_bytes()[:8000])
    swapped.write_bytes((root / "val2017/000000168974.jpg").read_bytes())
    with pytest.warns(UserWarning, match="3 left out") as caught:
        prepare_pairs(root, "val", tmp_path / "pairs")
    assert all(path.name in str(caught[-1].message) for path in (lost, short, swapped))
    made = contents(tmp_path / "pairs")
    assert len(made) == len(whole) - 6 and all(whole[name] == data for name, data in made.items())
    for path in (lost, short, swapped): shutil.copy(samples / "val2017" / path.name, path)
    assert contents(prepare_pairs(root, "val", tmp_path / "pairs")) == whole


@pytest.mark.parametrize("name, said", [("folder.jpg", "Is a directory"),
                                        ("x" * 300 + ".jpg", "no such file")])
def test_a_name_that_cannot_be_read_loses_one_photo(tmp_path, name, said):
    root = copy_coco(tmp_path)
    (root / "val2017/folder.jpg").mkdir()
    path = root / "annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = name
    path.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match=f"1 left out.*\n.*{said}"):
        prepare_pairs(root, "val", tmp_path / "pairs")


def test_many_problems_make_a_short_message(tmp_path):
    root = copy_coco(tmp_path)
    for path in sorted((root / "train2017").iterdir())[3:]: path.unlink()
    with pytest.warns(UserWarning, match="(?s)23 left out.*…$") as caught:
        prepare_pairs(root, "train", tmp_path / "pairs")
    assert len(str(caught[-1].message).splitlines()) == 12


def test_a_folder_without_photos_or_annotations_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="instances_val2017.json: no such file; download it"):
        prepare_pairs(tmp_path, "val", tmp_path / "pairs")
    root = copy_coco(tmp_path)
    for path in (root / "val2017").iterdir(): path.unlink()
    with pytest.raises(DataError, match="no pair could be made.*no such file"):
        prepare_pairs(root, "val", tmp_path / "pairs")
    (root / "val2017").rmdir()
    with pytest.raises(DataError, match="val2017: no such folder; download it with"):
        prepare_pairs(root, "val", tmp_path / "other")
    annotations = root / "annotations/instances_val2017.json"
    annotations.write_bytes(annotations.read_bytes()[:1000])
    with pytest.raises(DataError, match="instances_val2017.json: cannot be read.*export or "
                       "download it again"):
        prepare_pairs(root, "val", tmp_path / "other")


@pytest.mark.parametrize("changes, message", [
    (dict(size=(128, 128)), r"size was \[256, 256\], now \[128, 128\]"),
                                              (dict(size=None), "size was"),
                                              (dict(split="train"), "split was val, now train")])
def test_a_folder_is_not_mixed(tmp_path, changes, message):
    asked = dict(root=samples, split="val", dest=tmp_path, limit=2)
    prepare_pairs(**asked)
    before = contents(tmp_path)
    with pytest.raises(DataError, match=message): prepare_pairs(**asked | changes)
    assert contents(tmp_path) == before


def test_other_annotations_or_somebody_elses_folder_are_refused(tmp_path):
    root = copy_coco(tmp_path)
    prepare_pairs(root, "val", tmp_path / "pairs", limit=2)
    annotations = root / "annotations/instances_val2017.json"
    annotations.write_text(annotations.read_text() + " ")
    with pytest.raises(DataError, match="annotations was"):
        prepare_pairs(root, "val", tmp_path / "pairs", limit=2)
    (tmp_path / "mine/frames").mkdir(parents=True)
    with pytest.raises(DataError, match="mine: has frames or masks that bg_remover did not make"):
        prepare_pairs(root, "val", tmp_path / "mine")


@pytest.mark.parametrize("wrong", [256, (256,), (256, 256, 3), (0, 256)])
def test_a_wrong_size_is_said_so(tmp_path, wrong):
    with pytest.raises(ValueError, match="must be \\(height, width\\)"):
        prepare_pairs(samples, "val", tmp_path, size=wrong)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_wrong_limit_is_said_so(tmp_path, limit):
    with pytest.raises(ValueError, match="limit must be"):
        prepare_pairs(samples, "val", tmp_path, limit=limit)


def test_a_larger_limit_goes_on(tmp_path, whole):
    prepare_pairs(samples, "val", tmp_path, limit=4)
    assert len(contents(tmp_path)) == 8
    old = {path: path.stat().st_mtime_ns for path in (tmp_path / "masks").iterdir()}
    assert contents(prepare_pairs(samples, "val", tmp_path)) == whole
    assert all(path.stat().st_mtime_ns == changed for path, changed in old.items())


slow_preparation = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from bg_remover import data_prep
from bg_remover.base import files
write = files.os.replace
def slow_write(*paths):
    time.sleep(0.05) # so that a kill always falls in the middle
    write(*paths)
files.os.replace = slow_write
data_prep.prepare_pairs(sys.argv[1], "val", sys.argv[2], executor=ThreadPoolExecutor(1))
"""


def test_killed_in_the_middle_it_goes_on_and_ends_with_the_same_bytes(tmp_path, whole):
    kills = 0
    for enough in (3, 9): # kill after so many files
        process = subprocess.Popen([sys.executable, "-c", slow_preparation, str(samples),
                                    str(tmp_path)])
        while process.poll() is None and len(seen(tmp_path)) < enough: time.sleep(0.01)
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        kills += process.wait() != 0
    assert kills == 2 and 9 <= len(contents(tmp_path)) < len(whole)
    # each whole or not at all
    assert all(whole[name] == data for name, data in contents(tmp_path).items())
    assert contents(prepare_pairs(samples, "val", tmp_path)) == whole


def seen(folder: Path) -> list[Path]:
    return [*folder.glob("frames/*.jpg"), *folder.glob("masks/*.png")]


def test_a_call_killed_before_its_first_pair_can_go_on(tmp_path, monkeypatch):
    def full_disk(path, data): raise OSError("no space left on device")
    monkeypatch.setattr(storage, "write_bytes", full_disk)
    with pytest.raises(OSError): prepare_pairs(samples, "val", tmp_path / "pairs", limit=1)
    monkeypatch.undo()
    assert len(list((prepare_pairs(samples, "val", tmp_path / "pairs",
                                   limit=1) / "masks").glob("*.png"))) == 1


def test_annotations_without_people_are_refused(tmp_path):
    root = tmp_path / "coco"
    shutil.copytree(samples, root)
    path = root / "annotations/instances_val2017.json"
    path.write_text(path.read_text().replace('"name": "person"',
                                             '"name": "human"').replace('"name":"person"',
                                                                        '"name":"human"'))
    with pytest.raises(DataError, match="person"): prepare_pairs(root, "val", tmp_path / "pairs")
    content = json.loads(path.read_text().replace('"human"', '"person"'))
    path.write_text(json.dumps(content | dict(annotations=[])))
    with pytest.raises(DataError, match="no pair could be made; there is nobody"):
        prepare_pairs(root, "val", tmp_path / "pairs")
