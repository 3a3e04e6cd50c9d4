"""Own photos and masks in the layouts of many tools: each becomes the same pairs, or is refused
by name with what to do."""
import base64
import errno
import io
import json
import os
import subprocess
import sys
import unicodedata
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bg_remover.base.errors import DataError, FolderError, ImageError
from bg_remover.images import read_image, read_mask
from bg_remover.tool.layouts import PhotoFinder, find_labelled_photos, read_class_names
from bg_remover.tool.own_data import prepare_own, summarize_pairs
from own_photos import height, peak_memory, photo, photos_and_masks, picture, polygon, truth
from own_photos import width, write

root = Path(__file__).resolve().parents[2]


def coco(names, person="person", first=1) -> dict:
    "COCO's file of some photos; Roboflow puts the classes below a root, which has number 0."
    images = [dict(id=first + place, file_name=name, height=height, width=width)
              for place, name in enumerate(names)]
    people = [dict(id=one["id"], image_id=one["id"], category_id=2, segmentation=[polygon],
                   iscrowd=0, area=600, bbox=[10, 10, 30, 20]) for one in images]
    return dict(images=images, annotations=people,
                categories=[dict(id=0, name="things"), dict(id=1, name="car"),
                            dict(id=2, name=person)])


fractions = " ".join(str(number / (height if place % 2 else width))
                     for place, number in enumerate(polygon))


def images_and_masks(folder):
    for name in "ab":
        photo(folder / f"images/{name}.jpg"); picture(folder / f"masks/{name}_mask.png", truth)


def images_and_label_pictures(folder):
    for name in "ab":
        photo(folder / f"Images/{name}.jpg"); picture(folder / f"Labels/{name}.png", 255 * truth)


def split_folders(folder):
    for part in ("train", "val"):
        photo(folder / f"{part}/images/a.jpg"); picture(folder / f"{part}/masks/a.png", 255 * truth)


def same_name_in_two_folders(folder):
    for part in ("cam0", "cam1"):
        photo(folder / f"photos/{part}/a.jpg"); picture(folder / f"masks/{part}/a.png", 255 * truth)


def voc(folder):
    palette = [0, 0, 0] * 15 + [192, 128, 128]
    for name in "abc": photo(folder / f"JPEGImages/{name}.jpg")
    for name in "ab": picture(folder / f"SegmentationClass/{name}.png", 15 * truth, palette)


def voc_numbers(folder):
    for name in "ab":
        photo(folder / f"JPEGImages/{name}.jpg"); picture(folder / f"SegmentationClass/{name}.png",
                                                          np.where(truth, 15, 2))


def cvat_masks(folder):
    write(folder / "labelmap.txt",
          "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:250,50,83::\n"
          "person:51,221,255::\n", b"\xef\xbb\xbf")
    for name in "ab":
        photo(folder / f"JPEGImages/{name}.jpg")
        picture(folder / f"SegmentationClass/{name}.png",
                np.where(truth[..., None], (51, 221, 255), (250, 50, 83)))


def yolo(folder):
    write(folder / "data.yaml", "path: .\ntrain: images\nnames:\n  0: car\n  1: person\n")
    for name in "ab":
        photo(folder / f"images/{name}.jpg"); write(folder / f"labels/{name}.txt",
                                                    f"1 {fractions}\n0 0.8 0.8 0.9 0.8 0.9 0.9\n")


def yolo_ultralytics(folder):
    write(folder / "data.yaml", "names: ['car', 'person']\n")
    for part in ("train", "val"):
        photo(folder / f"images/{part}/a.jpg"); write(folder / f"labels/{part}/a.txt",
                                                      f"1 {fractions}\n")


def yolo_roboflow(folder):
    write(folder / "data.yaml", "nc: 2\nnames:\n- car\n- person\n")
    for part in ("train", "valid"):
        photo(folder / f"{part}/images/a.jpg"); write(folder / f"{part}/labels/a.txt",
                                                      f"1 {fractions}\n")


def yolo_without_names(folder):
    for name in "ab":
        photo(folder / f"images/{name}.jpg"); write(folder / f"labels/{name}.txt",
                                                    f"0 {fractions}\n")


def cvat_coco(folder):
    for name in "ab": photo(folder / f"images/{name}.jpg")
    write(folder / "annotations/instances_default.json", coco(["a.jpg", "b.jpg"]))


def cvat_coco_of_a_project(folder):
    for part in ("train", "validation"):
        photo(folder / f"images/{part}/a.jpg")
        write(folder / f"annotations/instances_{part}.json", coco([f"{part}/a.jpg"]))


def cvat_coco_with_a_brush(folder):
    photo(folder / "images/a.jpg"); photo(folder / "images/b.jpg")
    content, flat = coco(["a.jpg", "b.jpg"]), truth.T.ravel()
    starts = np.flatnonzero(np.diff(flat)) + 1
    for one in content["annotations"]:
        one |= dict(iscrowd=1,
                    segmentation=dict(size=[height, width],
                                      counts=np.diff([0, *starts, flat.size]).tolist()))
    write(folder / "annotations/instances_default.json", content)


def roboflow_coco(folder):
    for part in ("train", "valid"):
        photo(folder / f"{part}/a.jpg")
        write(folder / f"{part}/_annotations.coco.json", coco(["a.jpg"]))


def label_studio(folder):
    for name in "ab": photo(folder / f"images/{name}.jpg")
    write(folder / "result.json", coco([r"images\a.jpg", r"images\b.jpg"]), b"\xef\xbb\xbf")


def labelme(folder):
    for name, kind, points in (("a", "polygon", np.reshape(polygon, (-1, 2)).tolist()),
                               ("b", "rectangle", [[10, 10], [40, 30]])):
        photo(folder / f"{name}.jpg")
        shapes = [dict(label="Person", shape_type=kind, points=points),
                  dict(label="car", shape_type="line", points=[[0, 0], [5, 5]])]
        write(folder / f"{name}.json",
              dict(version="5", shapes=shapes, imagePath=f"{name}.jpg", imageHeight=height,
                   imageWidth=width))


def packed(mask) -> str:
    "A painted object as Supervisely packs it."
    data = io.BytesIO()
    image = Image.fromarray(np.uint8(mask))
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(data, "PNG", transparency=0)
    return base64.b64encode(zlib.compress(data.getvalue())).decode()


def supervisely(folder):
    corners = np.reshape(polygon, (-1, 2)).tolist()
    car = dict(classTitle="car", geometryType="line", points=dict(exterior=[[0, 0], [5, 5]]))
    people = dict(
        a=[dict(geometryType="polygon", points=dict(exterior=corners, interior=[]))],
        b=[dict(geometryType="bitmap", bitmap=dict(data=packed(truth[10:30, 10:30]),
                                                   origin=[10, 10])),
           dict(geometryType="rectangle", points=dict(exterior=[[30, 10], [40, 30]]))])
    for name, objects in people.items():
        photo(folder / f"set1/img/{name}.jpg")
        objects = [dict(classTitle="Person", **one) for one in objects] + [car]
        write(folder / f"set1/ann/{name}.jpg.json",
              dict(size=dict(height=height, width=width), objects=objects))
    write(folder / "meta.json", dict(classes=[dict(title="Person"), dict(title="car")]))


def supervisely_set(folder):
    supervisely(folder)
    for part in ("img", "ann"): (folder / "set1" / part).rename(folder / part)
    (folder / "ann/a.jpg.json").rename(folder / "ann/a.json") # as it was once


every_layout = [photos_and_masks, images_and_masks, images_and_label_pictures, split_folders,
                same_name_in_two_folders, voc, voc_numbers, cvat_masks, yolo,
                yolo_ultralytics, yolo_roboflow, yolo_without_names, cvat_coco,
                cvat_coco_of_a_project, cvat_coco_with_a_brush, roboflow_coco, label_studio,
                labelme, supervisely, supervisely_set]


@pytest.mark.parametrize("make", every_layout, ids=lambda make: make.__name__)
def test_every_layout_becomes_the_same_pairs(make, tmp_path):
    make(tmp_path / "mine")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    masks = sorted((pairs / "masks").iterdir())
    assert len(masks) == len(list((pairs / "frames").iterdir())) == 2
    for path in masks:
        mask = read_mask(path)
        assert mask.shape == truth.shape and not (mask == 128).any()
        assert ((mask == 255) != truth).sum() <= 60
    assert summarize_pairs(pairs).startswith("2 photos; person: smallest 2")
    assert read_image(pairs / "pairs.jpg").shape == (200, 800, 3)


def test_what_is_up_to_date_is_not_made_again(tmp_path):
    cvat_coco(tmp_path / "mine")
    made = prepare_own(tmp_path / "mine", tmp_path / "pairs") / "masks/a.png"
    made.write_bytes(made.read_bytes() + b" ")
    os.utime(made,
             ns=((tmp_path / "mine/annotations/instances_default.json").stat().st_mtime_ns,) * 2)
    prepare_own(tmp_path / "mine", tmp_path / "pairs")
    assert made.read_bytes().endswith(b" ")


# --- classes

@pytest.mark.parametrize("make, names",
                         [(cvat_coco, "car, human"), (yolo, "car, human"),
                          (cvat_masks, "background, car, human"), (labelme, "human, car")])
def test_another_class_is_asked_for_and_can_be_chosen(make, names, tmp_path):
    make(tmp_path / "mine")
    for path in [*tmp_path.rglob("*.json"), *tmp_path.rglob("*.txt"), *tmp_path.rglob("*.yaml")]:
        path.write_bytes(path.read_bytes().replace(b"person", b"human").replace(b"Person",
                                                                                b"human"))
    with pytest.raises(DataError, match=f"no class is named 'person', only .*{names}.*--class"):
        prepare_own(tmp_path / "mine", tmp_path / "pairs")
    pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs", class_name="human")
    assert ((read_mask(pairs / "masks/a.png") == 255) != truth).sum() <= 60


def test_a_class_without_outlines_is_an_error(tmp_path):
    cvat_coco(tmp_path)
    said = "no photo has a car; the classes with outlines are person"
    with pytest.warns(UserWarning, match="2 of 2 photos"), pytest.raises(DataError, match=said):
        find_labelled_photos(tmp_path, class_name="car")


def test_a_part_without_people_does_not_stop_the_others(tmp_path):
    roboflow_coco(tmp_path)
    path = tmp_path / "valid/_annotations.coco.json"
    write(path, json.loads(path.read_bytes()) | dict(annotations=[]))
    with pytest.warns(UserWarning,
                      match="no photo has a person; the classes with outlines are none"):
        assert [own.name for own in find_labelled_photos(tmp_path)] == ["train-a"]


def test_pairs_of_two_classes_do_not_mix(tmp_path):
    labelme(tmp_path / "mine")
    prepare_own(tmp_path / "mine", tmp_path / "pairs", class_name="Person")
    with pytest.raises(DataError, match="class_name was Person, now car"):
        prepare_own(tmp_path / "mine", tmp_path / "pairs", class_name="car")


def test_a_class_number_can_be_chosen(tmp_path):
    for name in "ab":
        photo(tmp_path / f"mine/photos/{name}.jpg"); picture(tmp_path / f"mine/masks/{name}.png",
                                                             np.where(truth, 15, 2))
    with pytest.raises(DataError, match="--person 15"):
        prepare_own(tmp_path / "mine", tmp_path / "pairs")
    pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs", person=15)
    assert ((read_mask(pairs / "masks/a.png") == 255) == truth).all()


@pytest.mark.parametrize("text", [
    "names: [car, \"person\"]",
    "names:\n  - car\n  - 'person'\nnc: 2",
    "names:\n  0: car\n  1: person\n",
    "names: {0: car, 1: person}",
    "names: # two\n\n  0: car # mine\n\n  1: person # us\n",
    "names: {\n  '0': car,\n  '1': person\n}",
    "names: [\n  car,\n  person\n]",
    "names:\r\n- car\r\n- person\r\nnc: 2\r\n",
])
def test_names_of_classes_are_read(text, tmp_path):
    write(tmp_path / "data.yaml", f"train: images\n{text}")
    assert read_class_names(tmp_path) == {0: "car", 1: "person"}


def test_a_name_of_a_class_may_have_a_comma_and_a_line_may_be_empty(tmp_path):
    write(tmp_path / "data.yaml", "nc: 3")
    write(tmp_path / "labels/classes.txt", "car\n\nperson\n")
    assert read_class_names(tmp_path) == {0: "car", 2: "person"}
    write(tmp_path / "data.yaml", "names: ['car, big', \"driver's seat\", person]")
    assert read_class_names(tmp_path) == {0: "car, big", 1: "driver's seat", 2: "person"}


@pytest.mark.parametrize("make, name", [(yolo, "data.yaml"), (yolo, "labels/a.txt"),
                                        (cvat_masks, "labelmap.txt")])
def test_text_is_read_in_utf_16_and_another_code_page_is_named(make, name, tmp_path):
    make(tmp_path / "mine")
    path = tmp_path / "mine" / name
    text = path.read_text("utf-8-sig")
    path.write_text(text, "utf-16")
    pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    assert len(list((pairs / "masks").iterdir())) == 2
    path.write_text(f"{text}# grün\n", "cp1252")
    if name.startswith("labels"):
        with pytest.warns(UserWarning, match="a.txt: is not UTF-8 text"):
            prepare_own(tmp_path / "mine", pairs)
    else:
        with pytest.raises(DataError, match=f"{name}: is not UTF-8 text"):
            prepare_own(tmp_path / "mine", pairs)


@pytest.mark.parametrize("values, said", [
    (255 * truth, None), (truth, None), (15 * truth, None),
    (3000 * truth.astype(np.uint16), "number 3000"),
    (truth[..., None] * np.array([190, 128, 128]), r"colour \(190, 128, 128\)"),
    (15 * np.repeat(truth[..., None], 4, axis=2), r"colour \(15, 15, 15\)")])
def test_what_stands_for_no_class_of_voc_is_not_nobody(values, said, tmp_path):
    voc(tmp_path / "mine")
    pixels = values.astype(np.uint16 if values.dtype == np.uint16 else np.uint8)
    Image.fromarray(pixels).save(tmp_path / "mine/SegmentationClass/a.png")
    if said:
        with pytest.warns(UserWarning, match=f"a.png: the {said} belongs to no class"):
            prepare_own(tmp_path / "mine", tmp_path / "pairs")
    else:
        pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
        is_plane = values.max() == 1 # VOC's aeroplane
        assert ((read_mask(pairs / "masks/a.png") == 255) == (truth & (not is_plane))).all()


def test_all_colours_of_people_are_people(tmp_path):
    cvat_masks(tmp_path / "mine")
    path = tmp_path / "mine/labelmap.txt"
    path.write_text(path.read_text("utf-8-sig") + "Person:9,9,9::\n")
    picture(tmp_path / "mine/SegmentationClass/a.png", truth[..., None] * np.array([9, 9, 9]))
    pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    for name in "ab": assert ((read_mask(pairs / f"masks/{name}.png") == 255) == truth).all()


# --- names

def test_a_name_twice_is_named_and_the_rest_goes_on(tmp_path):
    photos_and_masks(tmp_path / "mine")
    photo(tmp_path / "mine/photos/a.png")
    with pytest.warns(UserWarning, match="a.png: a.jpg has the same name"):
        pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    assert [path.stem for path in (pairs / "masks").iterdir()] == ["b"]


def test_a_pair_name_made_twice_is_named(tmp_path):
    same_name_in_two_folders(tmp_path / "mine")
    photo(tmp_path / "mine/photos/cam0-a.jpg"); picture(tmp_path / "mine/masks/cam0-a.png",
                                                        255 * truth)
    with pytest.warns(UserWarning, match="its pair has the same name"):
        pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    assert sorted(path.stem for path in (pairs / "masks").iterdir()) == ["cam0-a", "cam1-a"]


def test_a_photo_listed_twice_gets_the_people_of_both_records(tmp_path):
    photo(tmp_path / "images/a.jpg")
    content = coco(["a.jpg", "images/a.jpg"])
    content["annotations"][0]["segmentation"] = [[10, 10, 25, 10, 25, 30, 10, 30]]
    content["annotations"][1]["segmentation"] = [[25, 10, 40, 10, 40, 30, 25, 30]]
    write(tmp_path / "result.json", content)
    own, = find_labelled_photos(tmp_path)
    assert ((own.mask.read(truth.shape) == 255) != truth).sum() <= 60


def test_a_photo_is_found_by_as_much_of_its_name_as_it_takes(tmp_path):
    for part in ("cam0", "cam1"): photo(tmp_path / part / "a.jpg")
    finder = PhotoFinder(tmp_path)
    assert finder.find(r"C:\data\cam1\a.jpg") == tmp_path / "cam1/a.jpg"
    with pytest.raises(DataError, match="give them different names"): finder.find("a.jpg")
    with pytest.raises(DataError, match="no such photo"): finder.find("b.jpg")


def test_names_are_found_as_macos_and_windows_spell_them(tmp_path):
    apart = unicodedata.normalize("NFD", "é")
    photo(tmp_path / f"drawn/photos/{apart}.jpg")
    picture(tmp_path / "drawn/masks/é.png", 255 * truth)
    photo(tmp_path / f"coco/{apart}.jpg"); photo(tmp_path / "coco/b.JPG")
    write(tmp_path / "coco/result.json", coco(["images/é.jpg", "B.jpg"]))
    pairs = prepare_own(tmp_path / "drawn", tmp_path / "pairs")
    assert [path.stem for path in (pairs / "masks").iterdir()] == ["é"]
    pairs = prepare_own(tmp_path / "coco", tmp_path / "more")
    assert len(list((pairs / "masks").iterdir())) == 2
    photo(tmp_path / "coco/B.jpg") # where both are there, the spelling decides
    assert PhotoFinder(tmp_path / "coco").find("B.jpg").name == "B.jpg"


@pytest.mark.parametrize("make, left", [
    (photos_and_masks, "masks/b.png"),
    (voc, "SegmentationClass/b.png"),
    (yolo, "labels/b.txt"),
])
def test_a_mask_whose_photo_is_not_there_is_named(make, left, tmp_path):
    make(tmp_path / "mine")
    next(tmp_path.rglob("b.jpg")).rename(tmp_path / "mine/b.CR2")
    with pytest.warns(UserWarning, match=f"{left}: no photo with this name"):
        prepare_own(tmp_path / "mine", tmp_path / "pairs")


def test_a_photo_with_outlines_twice_is_one_pair(tmp_path):
    cvat_coco(tmp_path / "mine")
    path = tmp_path / "mine/annotations/instances_default.json"
    (path.parent / "instances_train.json").write_bytes(path.read_bytes())
    labelme(tmp_path / "other")
    (tmp_path / "other/a_old.json").write_bytes((tmp_path / "other/a.json").read_bytes())
    for name, files in (("mine", "instances_default.json, instances_train.json"),
                        ("other", "a.json, a_old.json")):
        with pytest.warns(UserWarning, match=rf"a.jpg: has outlines twice \({files}\)"):
            pairs = prepare_own(tmp_path / name, tmp_path / f"{name}-pairs")
        assert {path.stem for path in (pairs / "masks").iterdir()} == {"a", "b"}


def test_an_archive_is_to_be_unpacked_and_its_only_folder_is_looked_into(tmp_path):
    cvat_coco(tmp_path / "mine/export")
    write(tmp_path / "mine/__MACOSX/._export", "x"); write(tmp_path / "mine/.DS_Store", "x")
    assert {own.name for own in find_labelled_photos(tmp_path / "mine")} == {"a", "b"}
    write(tmp_path / "other/export.zip", "x")
    with pytest.raises(DataError, match="export.zip: this .*unpack the archive first"):
        find_labelled_photos(tmp_path / "other")
    with pytest.raises(DataError, match="export.zip: is a file; .* unpack it"):
        find_labelled_photos(tmp_path / "other/export.zip")


@pytest.mark.parametrize("text", ["{", '{"images": [], "annotations": null, "categories": []}'])
def test_a_file_that_cannot_be_used_does_not_stop_the_others(text, tmp_path):
    cvat_coco(tmp_path)
    write(tmp_path / "annotations/instances_train.json", text)
    with pytest.warns(UserWarning, match="instances_train.json: cannot be"):
        assert len(find_labelled_photos(tmp_path)) == 2
    (tmp_path / "annotations/instances_default.json").unlink()
    with pytest.raises(DataError, match="instances_train.json: cannot be"):
        find_labelled_photos(tmp_path)


@pytest.mark.parametrize("make, name", [(photos_and_masks, "a.jpg"), (photos_and_masks, "a.png"),
                                        (voc, "a.png"), (yolo, "a.txt"), (labelme, "a.json")])
def test_a_file_that_may_not_be_read_loses_one_photo(make, name, tmp_path, monkeypatch):
    make(tmp_path / "mine")
    read = Path.read_bytes
    def refuse(path): # as the system does, except for the administrator, who may run the tests
        if path.name == name: raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.warns(UserWarning, match=f"{name}: .*Permission denied"):
        pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    assert [path.stem for path in (pairs / "masks").iterdir()] == ["b"]


# --- what cannot be right

@pytest.mark.parametrize("make", [photos_and_masks, cvat_coco])
def test_a_turned_photo_is_named_with_what_to_do(make, tmp_path):
    make(tmp_path / "mine")
    photo(next(tmp_path.rglob("a.jpg")), orientation=6)
    with pytest.warns(UserWarning, match="EXIF orientation 6.*exiftool -Orientation="):
        pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    assert [path.stem for path in (pairs / "masks").iterdir()] == ["b"]


@pytest.mark.parametrize("value, word",
                         [(0, "all 2 masks are empty"), (255, "all 2 masks are full")])
def test_masks_that_are_all_the_same_are_an_error(value, word, tmp_path):
    for name in "ab":
        photo(tmp_path / f"mine/photos/{name}.jpg"); picture(tmp_path / f"mine/masks/{name}.png",
                                                             np.full(truth.shape, value))
    with pytest.raises(ImageError, match=word): prepare_own(tmp_path / "mine", tmp_path / "pairs")


def test_inverted_masks_are_a_warning(tmp_path):
    for name in "ab":
        photo(tmp_path / f"mine/photos/{name}.jpg"); picture(tmp_path / f"mine/masks/{name}.png",
                                                             255 * ~truth)
    with pytest.warns(UserWarning, match="inverted"):
        prepare_own(tmp_path / "mine", tmp_path / "pairs")


@pytest.mark.parametrize("text, word",
                         [("1 0.1 0.1 0.2 0.2", "has boxes"),
                          ("1 10 10 40 10 40 30", "must be fractions"),
                          ("person 1", "lines must be numbers"),
                                        ("1 nan nan 0.2 0.2 0.3 0.3", "must be fractions"),
                          (f"nan {fractions}", "nan is not a class number"),
                          (f"inf {fractions}", "inf is not a class number"),
                          (f"1.5 {fractions}", "1.5 is not a class number"),
                          (f"-1 {fractions}", "the class -1 has no name"),
                          (f"7 {fractions}", "the class 7 has no name")])
def test_an_odd_text_file_loses_one_photo(text, word, tmp_path):
    yolo(tmp_path / "mine")
    write(tmp_path / "mine/labels/a.txt", text)
    with pytest.warns(UserWarning, match=word):
        pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    assert [path.stem for path in (pairs / "masks").iterdir()] == ["b"]


def test_no_label_is_not_nobody(tmp_path):
    yolo(tmp_path / "mine")
    (tmp_path / "mine/labels/a.txt").unlink()
    with pytest.warns(UserWarning, match="a.jpg: no mask with this name"):
        pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    write(tmp_path / "mine/labels/a.txt", "") # which says that nobody is there
    prepare_own(tmp_path / "mine", pairs)
    assert (read_mask(pairs / "masks/a.png") == 0).all()


def test_points_of_labelme_are_pairs_and_a_rectangle_may_have_four(tmp_path):
    labelme(tmp_path / "mine")
    corners = np.reshape(polygon, (-1, 2))
    shape = dict(label="person", shape_type="rectangle", points=corners.tolist())
    path = tmp_path / "mine/a.json"
    content = json.loads(path.read_text())
    write(path, content | dict(shapes=[shape]))
    pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    assert ((read_mask(pairs / "masks/a.png") == 255) != truth).sum() <= 60
    deep = np.c_[corners, np.zeros(4)].tolist() # would be read as other pairs
    write(path, content | dict(shapes=[shape | dict(shape_type="polygon", points=deep)]))
    with pytest.warns(UserWarning, match="a.json: cannot be used .its points are not pairs"):
        prepare_own(tmp_path / "mine", pairs)


def test_a_broken_labelme_file_loses_one_photo(tmp_path):
    labelme(tmp_path / "mine")
    write(tmp_path / "mine/a.json", "{")
    with pytest.warns(UserWarning, match="a.json: cannot be read"):
        pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    assert [path.stem for path in (pairs / "masks").iterdir()] == ["b"]


@pytest.mark.parametrize("side", ["40", 40.5, -40, 10 ** 6, [40]])
def test_an_odd_size_of_labelme_loses_one_photo(side, tmp_path):
    labelme(tmp_path / "mine")
    content = json.loads((tmp_path / "mine/a.json").read_text())
    write(tmp_path / "mine/a.json", content | dict(imageHeight=side, imageWidth=side))
    with pytest.warns(UserWarning, match="a.json: cannot be used"):
        pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    assert [path.stem for path in (pairs / "masks").iterdir()] == ["b"]


def test_supervisely_polygons_have_holes_and_odd_objects_lose_one_photo(tmp_path):
    supervisely(tmp_path / "mine")
    path, bad = (tmp_path / f"mine/set1/ann/{name}.jpg.json" for name in "ab")
    content = json.loads(path.read_text())
    content["objects"][0]["points"]["interior"] = [[[20, 15], [30, 15], [30, 25], [20, 25]]]
    write(path, content)
    odd = [dict(geometryType="line", points=dict(exterior=[[1, 1], [2, 2]])), dict(points=None),
           dict(bitmap=dict(data="no base64!", origin=[0, 0])), dict(geometryType="polygon"),
           dict(bitmap=dict(data=packed(truth), origin=[30, 30])), dict(bitmap=[1])]
    for one in odd:
        write(bad, dict(objects=[dict(classTitle="person", **one)]))
        with pytest.warns(UserWarning, match="b.jpg.json: "):
            pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
        mask = read_mask(pairs / "masks/set1-a.png")
        assert mask[12, 12] == 255 and not mask[16:24, 21:29].any()
        assert [path.stem for path in (pairs / "masks").iterdir()] == ["set1-a"]


@pytest.mark.parametrize("side", ["40", 40.5, -40, 10 ** 6, 10 ** 30, [40]])
def test_an_odd_size_of_supervisely_loses_one_photo(side, tmp_path):
    supervisely(tmp_path / "mine")
    path = tmp_path / "mine/set1/ann/b.jpg.json"
    write(path, json.loads(path.read_text()) | dict(size=dict(height=side, width=side)))
    with pytest.warns(UserWarning, match="b.jpg.json: "):
        pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    assert [path.stem for path in (pairs / "masks").iterdir()] == ["set1-a"]


def test_a_place_or_a_class_of_supervisely_may_be_anything(tmp_path):
    supervisely(tmp_path / "mine")
    path = tmp_path / "mine/set1/ann/b.jpg.json"
    far = dict(classTitle="person", bitmap=dict(data=packed(truth), origin=["FAR", 0]))
    path.write_text(json.dumps(dict(objects=[far])).replace('"FAR"', "1e400"))
    with pytest.warns(UserWarning, match="b.jpg.json: cannot be used"):
        prepare_own(tmp_path / "mine", tmp_path / "pairs")
    text = base64.b64encode(zlib.compress(b"no picture")).decode()
    bad = dict(classTitle="person", bitmap=dict(data=text, origin=[0, 0]))
    write(path, dict(objects=[bad]))
    with pytest.warns(UserWarning, match="b.jpg.json: ") as caught:
        prepare_own(tmp_path / "mine", tmp_path / "pairs")
    assert "the given bytes" not in str(caught[0].message)
    write(path, dict(objects=None))
    with pytest.warns(UserWarning, match="b.jpg.json: has no list of objects"):
        prepare_own(tmp_path / "mine", tmp_path / "pairs")
    opaque = io.BytesIO()
    Image.fromarray(255 * np.uint8(truth)).convert("RGBA").save(opaque, "PNG")
    text = base64.b64encode(zlib.compress(opaque.getvalue())).decode()
    write(path, dict(objects=[dict(classTitle="person", bitmap=dict(data=text, origin=[0, 0]))]))
    pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    assert ((read_mask(pairs / "masks/set1-b.png") == 255) == truth).all()
    write(path, dict(objects=[dict(classTitle=["person"]), dict(classTitle=None)]))
    pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    assert not read_mask(pairs / "masks/set1-b.png").any()


def test_a_photo_missing_from_an_export_is_named(tmp_path):
    cvat_coco(tmp_path / "mine")
    (tmp_path / "mine/images/a.jpg").unlink()
    with pytest.warns(UserWarning, match="a.jpg: no such photo in"):
        prepare_own(tmp_path / "mine", tmp_path / "pairs")


def test_another_class_into_the_same_folder_is_refused(tmp_path):
    cvat_coco(tmp_path / "mine")
    pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    with pytest.raises(DataError, match="other settings .*class_name was None, now Person"):
        prepare_own(tmp_path / "mine", pairs, class_name="Person")
    settings = json.loads((pairs / "settings.json").read_text())
    for name in ("made_by", "person", "class_name"): del settings[name]
    (pairs / "settings.json").write_text(json.dumps(settings)) # as an earlier version wrote it
    (pairs / "made.json").unlink()
    before = (pairs / "masks/a.png").stat().st_mtime_ns
    assert (prepare_own(tmp_path / "mine", pairs) / "masks/a.png").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="class_name was None, now Person"):
        prepare_own(tmp_path / "mine", pairs, class_name="Person")


@pytest.mark.parametrize("text, error", [('{"precious": 1}', DataError), ("[]", FolderError),
                                         ("{}", FolderError), ("{", FolderError)])
def test_settings_of_another_program_are_left_as_they_are(text, error, tmp_path):
    photos_and_masks(tmp_path / "mine")
    write(tmp_path / "project/settings.json", text)
    with pytest.raises(error, match="settings.json: .*not written by bg_remover, .* another"):
        prepare_own(tmp_path / "mine", tmp_path / "project")
    assert (tmp_path / "project/settings.json").read_text() == text


def test_files_that_were_not_made_here_stay_and_those_of_photos_now_gone_go(tmp_path):
    photos_and_masks(tmp_path / "mine")
    pairs = prepare_own(tmp_path / "mine", tmp_path / "pairs")
    photo(pairs / "frames/mine.jpg")
    before = (pairs / "frames/mine.jpg").read_bytes()
    (tmp_path / "mine/photos/a.jpg").unlink()
    (tmp_path / "mine/masks/a.png").unlink()
    with pytest.warns(UserWarning, match="mine.jpg: was not made here"):
        prepare_own(tmp_path / "mine", pairs)
    assert {path.name for path in pairs.rglob("*/*")} == {"b.jpg", "b.png", "mine.jpg"}
    photo(tmp_path / "mine/photos/mine.jpg")
    picture(tmp_path / "mine/masks/mine.png", 255 * truth)
    with pytest.warns(UserWarning, match="frames/mine.jpg: was not made from .*photos/mine.jpg"):
        prepare_own(tmp_path / "mine", pairs)
    assert (pairs / "frames/mine.jpg").read_bytes() == before


def test_what_is_not_known_says_what_to_give(tmp_path):
    with pytest.raises(DataError, match="found nothing.*put your photos into photos, and for "
                       "each a mask"):
        find_labelled_photos(tmp_path)
    with pytest.raises(DataError, match="no such folder"): find_labelled_photos(tmp_path / "none")


def test_prepare_does_not_load_keras(tmp_path):
    photos_and_masks(tmp_path / "mine")
    heavy = ["keras", "tensorflow", "matplotlib"]
    code = ("import sys; from bg_remover.tool.cli import app; app(sys.argv[1:], "
            f"standalone_mode=False); print([name for name in {heavy} if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code, "prepare", tmp_path / "mine",
                           tmp_path / "pairs"], capture_output=True, text=True, cwd=root)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_photos_inside_the_files_of_labelme_are_not_kept(tmp_path):
    for number in range(10):
        photo(tmp_path / f"{number}.jpg")
        shapes = [dict(label="person", points=[[0, 0], [9, 0], [9, 9]])]
        write(tmp_path / f"{number}.json", dict(imagePath=f"{number}.jpg", shapes=shapes,
                                                imageData="A" * 1_000_000))
    assert peak_memory(lambda: find_labelled_photos(tmp_path)) < 5_000_000
