"""Odd COCO files, as annotation tools export them: one line for each problem, everything else
is used."""
import json
import math
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from bg_remover.base.decoding import explain_size
from bg_remover.base.annotations import annotation_file, clean_segmentation, encode_annotation
from bg_remover.base.annotations import flatten_polygons, open_coco, pair_name, unpack_counts
from bg_remover.base.errors import DataError
from bg_remover.data_prep import person_annotations, person_ids, person_mask, prepare_pairs
from bg_remover.images import read_mask, write_image

shape = 60, 80
square = [10, 20, 40, 20, 40, 50, 10, 50]


def content(count=3):
    "A file of photos p0, p1, …, a person on each."
    return dict(images=[dict(id=number + 1, file_name=f"p{number}.jpg", height=60, width=80)
                        for number in range(count)],
                annotations=[dict(id=number + 1, image_id=number + 1, category_id=1, iscrowd=0,
                                  segmentation=[[x + 5 * number if place % 2 == 0 else x
                                                 for place, x in enumerate(square)]])
                             for number in range(count)],
                categories=[dict(id=1, name="person"), dict(id=2, name="dog")])


def write(root, data, encoding="utf-8"):
    path = annotation_file(root, "train")
    path.parent.mkdir(parents=True, exist_ok=True)
    (root / "train2017").mkdir(exist_ok=True)
    for number in range(3):
        write_image(root / f"train2017/p{number}.jpg", np.zeros((*shape, 3), np.uint8))
    path.write_text(data if isinstance(data, str) else json.dumps(data, ensure_ascii=False),
                    encoding=encoding)
    return root


def opened(root):
    "A COCO index, and the lines of its warning."
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        coco = open_coco(root, "train")
    return coco, [line.strip() for one in caught if one.category is UserWarning
                  for line in str(one.message).splitlines()[1:]]


def test_a_clean_file_is_as_it_was(tmp_path):
    coco, problems = opened(write(tmp_path, content()))
    assert not problems and coco.dataset == content() and person_ids(coco) == [1, 2, 3]


@pytest.mark.parametrize("change, line, left", [
    (lambda data: data["images"][0].pop("file_name"), "image 1: no file_name", [2, 3]),
    (lambda data: data["images"][0].update(id=None), "image at place 0: id must be a "
     "whole number, not None", [2, 3]),
    (lambda data: data["images"][0].update(width="wide"), "image 1: width must be a "
     "whole number, not 'wide'", [2, 3]),
    (lambda data: data["images"][0].update(width=0), "image 1: its size is 60 × 0", [2, 3]),
    (lambda data: data["images"].append("p3.jpg"), "image at place 3: it is not a record",
     [1, 2, 3]),
    (lambda data: data["annotations"][1].update(image_id="second"), "annotation 2: image_id "
     "must be a whole number, not 'second'", [1, 3]),
    (lambda data: data["annotations"][1].pop("category_id"), "annotation 2: category_id must "
     "be a whole number, not None", [1, 3]),
    (lambda data: data["annotations"][1].update(iscrowd="no"), "annotation 2: iscrowd must be a "
     "whole number, not 'no'", [1, 3]),
    (lambda data: data["annotations"].append(None), "annotation at place 3: it is not a record",
     [1, 2, 3]),
    (lambda data: data["categories"].append(dict(name="cat")), "category at place 2: id must be "
     "a whole number, not None", [1, 2, 3]),
    (lambda data: data["images"][2].update(id=1), "image 1: p0.jpg has the same id "
     "as another photo", [2]),
    (lambda data: data["images"][0].update(file_name="."), "image 1: file_name is '.', which is "
     "not a file name", [2, 3]),
    (lambda data: data["images"][0].update(file_name="../.."), "image 1: file_name is '../..', "
     "which is not a file name", [2, 3]),
    (lambda data: data["images"][0].update(file_name="a\0.jpg"), r"image 1: file_name is "
     r"'a\x00.jpg', which is not a file name", [2, 3]),
])
def test_an_odd_record_is_one_line_and_the_rest_is_used(tmp_path, change, line, left):
    data = content()
    change(data)
    coco, problems = opened(write(tmp_path, data))
    assert line in problems and person_ids(coco) == left
    assert all(person_mask(coco, image_id).any() for image_id in left)


@pytest.mark.parametrize("change", [
    lambda data: data["images"][0].update(height="60", width=80.0, id="1"),
    lambda data: [data["images"][0].pop(side) for side in ("height", "width")],
    lambda data: data["images"][0].update(height=None),
    lambda data: data["annotations"][0].pop("iscrowd"),
    lambda data: data["annotations"][0].update(iscrowd=None),
    lambda data: data["annotations"][0].update(iscrowd=False),
    lambda data: data["annotations"][0].update(iscrowd=0.0),
    lambda data: data["annotations"][0].pop("id"),
    lambda data: data["annotations"][0].update(id=[1]),
    lambda data: data["images"].append(data["images"][0]),
    lambda data: data["categories"][0].update(name=" Person "),
    lambda data: data["annotations"][0].update(iscrowd="0", image_id="1", category_id=1.0),
    lambda data: [one.update(id=7) for one in data["annotations"]],
    lambda data: data["categories"].insert(0, dict(id=5, name="person", supercategory="none")),
    lambda data: (data["categories"].append(dict(id=3, name="Person")),
                  data["annotations"][2].update(category_id=3)),
])
def test_what_can_be_understood_is(tmp_path, change):
    """Numbers as text, sizes from the photo itself, ids that repeat or are not there, a photo
    listed twice, two categories named person."""
    data = content()
    change(data)
    coco, problems = opened(write(tmp_path, data))
    assert not problems and person_ids(coco) == [1, 2, 3]
    for number in range(3):
        columns = np.nonzero(person_mask(coco, number + 1).any(axis=0))[0]
        assert columns[0] == 10 + 5 * number and len(person_annotations(coco, number + 1)) == 1


@pytest.mark.parametrize("written", [int, str])
def test_an_id_too_large_for_a_float_keeps_its_people(tmp_path, written):
    data, large = content(), 2**53 + 1
    data["images"][0]["id"] = written(large)
    data["annotations"][0]["image_id"] = large
    coco, problems = opened(write(tmp_path, data))
    assert not problems and person_mask(coco, large).any()


@pytest.mark.parametrize("count, end", [(1, "image_id, 99"), (1500, "1,499 more are like it")])
def test_annotations_of_no_photo_are_one_line(tmp_path, count, end):
    data = content()
    data["annotations"] += [dict(data["annotations"][0], id=9, image_id=99)] * count
    coco, problems = opened(write(tmp_path, data))
    line, = problems
    assert line.startswith("annotation 9: no image") and line.endswith(end)
    assert person_ids(coco) == [1, 2, 3]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_any_unicode_with_or_without_its_mark(tmp_path, encoding):
    data = content()
    data["categories"][1]["name"] = "犬"
    assert opened(write(tmp_path, data, encoding))[0].cats[2]["name"] == "犬"


@pytest.mark.parametrize("data, message", [
    ("{", "cannot be read"),
    ("[" * 100_000, "cannot be read"),
    ("[]", "no images and no annotations and no categories"),
    ('{"images": [], "annotations": []}', "no categories"),
    ('{"images": {}, "annotations": [], "categories": []}', "its images are not a list"),
    ("null", "no images"),
])
def test_a_file_that_is_no_coco_file_is_named(tmp_path, data, message):
    with pytest.raises(DataError,
                       match=rf"instances_train2017.json: cannot be used \(.*{message}"
                       if "read" not in message else message):
        open_coco(write(tmp_path, data), "train")


def test_without_a_person_the_names_are_said(tmp_path):
    data = content()
    data["categories"][0]["name"] = "human"
    with pytest.raises(DataError, match="no category is named 'person', only dog, human"):
        prepare_pairs(write(tmp_path, data), "train", tmp_path / "pairs")


# Outlines

runs_of_square = dict(size=list(shape), counts=[600, 60, 4140])


@pytest.mark.parametrize("outline", [
    [square], square, [[[10, 20], [40, 20], [40, 50], [10, 50]]],
                                     [[10, 20], [40, 20], [40, 50], [10, 50]],
                                     [[1, 2, 3, 4], square], [[5, 5], square]])
def test_a_polygon_is_drawn_however_it_is_nested(outline):
    from pycocotools import mask as runs
    drawn = runs.decode(encode_annotation(outline, shape)[0])
    assert drawn.sum() == 30 * 30 and drawn[20:50, 10:40].all()


def test_runs_are_drawn_plain_packed_or_in_a_list():
    packed = encode_annotation(runs_of_square, shape)[0]
    text = packed["counts"].decode()
    plain = runs_of_square["counts"]
    for outline in (runs_of_square, [runs_of_square], packed, [packed], [packed, runs_of_square],
                    dict(size=["60", 80.0], counts=[str(count) for count in plain]),
                    dict(size=list(shape), counts=text), dict(size=list(shape), counts=[text])):
        assert encode_annotation(outline, shape)[0]["counts"] == packed["counts"]


@pytest.mark.parametrize("seed", range(5))
def test_packed_runs_are_the_numbers_that_pycocotools_packed(seed):
    from pycocotools import mask as runs
    random = np.random.default_rng(seed)
    mask = np.asfortranarray(random.random((200, 70)) < (0.5, 0.02, 0.98, 0, 1)[seed], np.uint8)
    flat = mask.ravel("F")
    starts = np.flatnonzero(np.diff(flat)) + 1
    plain = [0] * int(flat[0]) + np.diff([0, *starts, flat.size]).tolist()
    assert unpack_counts(runs.encode(mask)["counts"]) == plain


beyond = [[100, 20, 140, 20, 140, 50, 100, 50]]

@pytest.mark.parametrize("outline", [None, [], [[]], [[1, 2, 3, 4]], [1, 2], "box", beyond,
                                     [[10, 10, 50, 50, 10, 10]],
                                     dict(size=list(shape), counts=[4800])])
def test_what_encloses_nothing_costs_only_itself(outline):
    assert encode_annotation(outline, shape) == []


@pytest.mark.parametrize("outline, reason", [
    ([[math.nan, *square[1:]]], "far outside"), ([[math.inf, *square[1:]]], "far outside"),
                                             ([[1e9, *square[1:]]], "far outside"),
                                             ([[-1e9, *square[1:]]], "far outside"),
    ([square[:-1]], "odd count"), ([["a", *square[1:]]], "not a number"),
                                             ([[None, *square[1:]]], "not a number"),
    ([[value / 80 for value in square]], "fractions"),
    (dict(size=[80, 60], counts=[4800]), r"for a photo of \(80, 60\), not \(60, 80\)"),
                                             ([dict(size=[80, 60], counts=[4800])],
                                              "for a photo of"),
    (dict(size=[60, 80], counts=[4801]), "cover 4801 pixels, not 4800"),
    (dict(size=[60, 80], counts=""), "cover 0 pixels, not 4800"),
    (dict(size=[60, 80], counts="hb0"), "cover 600 pixels, not 4800"),
    (dict(size=[60, 80], counts="hb0lQ"), "incomplete"),
    (dict(size=[60, 80], counts="o" * 50), "damaged"),
    (dict(size=[60, 80], counts="not runs!"), "damaged"),
    (dict(size=[60, 80], counts=[-10, 4810]), "a run must be 0 or more, not -10"),
    (dict(size=[60, 80], counts=[0.5, 4799.5]), "must be a whole number"),
    (dict(size=[60, 80]), "no counts"), (dict(size=4800, counts=[4800]), "for a photo of 4800"),
    ([square, None], "not a number"),
    ([[value / 70 for value in (0, 0, 75, 0, 75, 50)]], "fractions"),
                                             (dict(counts=[4800]), "for a photo of")])
def test_what_cannot_be_right_is_said(outline, reason):
    with pytest.raises(ValueError, match=reason): clean_segmentation(outline, shape)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e300", "1000000000"])
def test_no_coordinate_kills_the_process(tmp_path, number):
    "In a process of its own: pycocotools ends it with a signal, or takes all the memory."
    text = json.dumps(content())
    first = json.dumps(content()["annotations"][0]["segmentation"][0])
    root = write(tmp_path / "coco", text.replace(first, first.replace("[10,", f"[{number},"), 1))
    code = ("import sys; from bg_remover.data_prep import prepare_pairs; "
            "prepare_pairs(sys.argv[1], 'train', sys.argv[2], size=None)")
    done = subprocess.run([sys.executable, "-c", code, str(root), str(tmp_path / "pairs")],
                          capture_output=True, text=True,
                          env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 0
    assert ("p0.jpg: annotation 1 cannot be drawn (its coordinates are far outside the photo"
            in done.stderr)
    masks = sorted(path.name for path in (tmp_path / "pairs/masks").iterdir())
    assert masks == ["p1.png", "p2.png"]


def test_a_photo_whose_people_have_no_outline_is_named_and_not_empty(tmp_path):
    data = content()
    data["annotations"][0]["segmentation"] = []
    data["annotations"].append(dict(id=8, image_id=2, category_id=1, iscrowd=0, bbox=[1, 2, 3, 4],
                                    segmentation=[]))
    with pytest.warns(UserWarning, match="p0.jpg: annotation 1 cannot be drawn .it encloses no "
                      "pixel"):
        prepare_pairs(write(tmp_path, data), "train", tmp_path / "pairs", size=None)
    assert {path.stem for path in (tmp_path / "pairs/masks").iterdir()} == {"p1", "p2"}
    assert read_mask(tmp_path / "pairs/masks/p1.png").any()


def test_flattening_leaves_flat_polygons_alone():
    assert flatten_polygons([square, square]) == [square, square] and flatten_polygons([]) == []


# --- names

def test_photos_of_one_name_in_two_folders_make_two_pairs(tmp_path):
    data = content()
    for record, name in zip(data["images"], ("cam0/p.jpg", "cam1\\p.jpg", "p0.jpg")):
        record["file_name"] = name
    root = write(tmp_path / "coco", data)
    for name in ("cam0", "cam1"):
        (root / "train2017" / name).mkdir()
        write_image(root / f"train2017/{name}/p.jpg", np.zeros((*shape, 3), np.uint8))
    pairs = prepare_pairs(root, "train", tmp_path / "pairs", size=None)
    assert sorted(path.stem for path in (pairs / "masks").iterdir()) == ["cam0-p", "cam1-p", "p0"]
    assert pair_name("/data/a.b.jpg") == "data-a.b"


@pytest.mark.parametrize("start", ["//data/", "C:/", "C:", "../../", "//host/share/"])
def test_the_name_of_a_pair_leads_nowhere_else(start):
    name = pair_name(f"{start}cam0/p.jpg")
    assert name.endswith("cam0-p") and not set(name) & set("/:.")


def test_a_photo_listed_twice_gets_the_people_of_both_records(tmp_path):
    data = content(2)
    data["images"][1]["file_name"] = "p0.jpg"
    pairs = prepare_pairs(write(tmp_path / "coco", data), "train", tmp_path / "pairs", size=None)
    assert len(list((pairs / "masks").iterdir())) == 1
    columns = np.flatnonzero((read_mask(pairs / "masks/p0.png") == 255).any(axis=0))
    assert columns.min() == 10 and columns.max() >= 44


def test_photos_that_differ_in_their_ending_are_named(tmp_path):
    data = content(2)
    data["images"][1]["file_name"] = "p0.png"
    with pytest.warns(UserWarning, match="image 2: p0.png and p0.jpg differ only in the ending"):
        coco = open_coco(write(tmp_path / "coco", data), "train")
    assert list(coco.imgs) == [1]


def test_a_turned_photo_says_what_to_do(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 60)).save(tmp_path / "p.jpg", exif=exif)
    assert "exiftool -Orientation= p.jpg" in explain_size(tmp_path / "p.jpg", (80, 60), (60, 80))
    assert explain_size(tmp_path / "p.jpg", (80, 60),
                        (50, 50)) == "use the photo they were drawn on"
