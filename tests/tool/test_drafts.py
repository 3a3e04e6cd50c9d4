"""Drafts and the paintings they are saved in: what a brush corrects, and what is left alone."""
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bg_remover.base.errors import DataError
from bg_remover.images import read_mask
from bg_remover.removal import Remover
from bg_remover.tool.drafts import draft_masks
from bg_remover.tool.own_data import prepare_own
from bg_remover.tool.paintings import read_layer
from own_photos import height, peak_memory, photo, photos_and_masks, picture, truth, width, write
from picture_files import chunk, encoded


class Stub(Remover):
    "Sure of a bright person, unsure of a grey one, blind in the dark."
    threshold = 0.5

    def __init__(self): pass

    def probability(self, photo):
        return np.float32(photo[..., 0] > 150) * 0.95 + np.float32(photo[..., 0] == 120) * 0.6


def painted(path: Path, layers: dict, size=(height, width), places: dict | None = None):
    "What a painting program saves: no comment, and layers cropped to what is in them."
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("mimetype", "image/openraster")
        stack = ""
        for number, (name, pixels) in enumerate(layers.items()):
            left, top = (places or {}).get(name, (0, 0))
            stack += f'<layer name="{name}" src="data/{number}.png" x="{left}" y="{top}"/>'
            file.writestr(f"data/{number}.png", encoded(np.uint8(pixels), "PNG"))
        file.writestr("stack.xml", f'<image w="{size[1]}" h="{size[0]}"><stack><stack name="group">'
                                   f"{stack}</stack></stack></image>")


def draft_of_photos(folder) -> list: # doubt and photo, the most doubtful first
    "Drafts for a photo that is easy, two that are not, and one that is broken."
    for name, value in (("sure", 200), ("night", 60), ("sub/unsure", 120)):
        (folder / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.dstack([np.where(truth, value, 40).astype(np.uint8)] * 3)
        Image.fromarray(pixels).save(folder / f"photos/{name}.png")
    (folder / "photos/broken.jpg").write_bytes(b"no photo")
    with pytest.warns(UserWarning, match="broken.jpg"):
        return draft_masks(folder / "photos", folder / "masks", Stub())


def test_drafts_are_layers_above_the_photo_and_the_doubtful_come_first(tmp_path):
    found = draft_of_photos(tmp_path)
    assert [doubt for doubt, _ in found] == [1, 1, 0] and found[2][1].stem == "sure"
    assert {path.stem for _, path in found[:2]} == {"night", "unsure"}
    lines = (tmp_path / "masks/doubt.csv").read_text().splitlines()
    assert lines[0] == "doubt,photo" and lines[3] == f"0.000,{tmp_path / 'photos/sure.png'}"
    for name, person in (("sure", truth), ("sub/unsure", truth), ("night", truth & False)):
        file = zipfile.ZipFile(tmp_path / f"masks/{name}.png.ora")
        first = file.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        assert file.read("mimetype") == b"image/openraster"
        layer = Image.open(io.BytesIO(file.read("data/person.png")))
        assert ((np.asarray(layer)[..., 3] == 255) == person).all()
        assert file.read("stack.xml").index(b"person") < file.read("stack.xml").index(b"photo")


def test_drafts_that_are_there_stay_as_they_are(tmp_path):
    draft_of_photos(tmp_path)
    before = (tmp_path / "masks/sure.png.ora").read_bytes()
    painted(tmp_path / "masks/night.png.ora", {"person": np.dstack([truth * 255] * 4)})
    corrected = (tmp_path / "masks/night.png.ora").read_bytes()
    with pytest.warns(UserWarning):
        draft_masks(tmp_path / "photos", tmp_path / "masks", Stub())
    assert (tmp_path / "masks/sure.png.ora").read_bytes() == before
    assert (tmp_path / "masks/night.png.ora").read_bytes() == corrected


def test_a_photo_with_a_finished_mask_gets_no_draft(tmp_path):
    for name in ("a", "b", "sub/c", "d"): photo(tmp_path / f"photos/{name}.jpg")
    for name in ("a", "b_mask", "sub/c"): picture(tmp_path / f"masks/{name}.png", 255 * truth)
    assert len(draft_masks(tmp_path / "photos", tmp_path / "masks", Stub())) == 4
    assert [path.name for path in tmp_path.rglob("*.ora")] == ["d.jpg.ora"]
    with pytest.warns(UserWarning, match="d.jpg.ora: a draft that nobody has saved yet"):
        pairs = prepare_own(tmp_path, tmp_path / "pairs")
    assert sorted(path.stem for path in (pairs / "masks").iterdir()) == ["a", "b", "sub-c"]


def test_masks_are_not_drafted_as_photos(tmp_path):
    photos_and_masks(tmp_path / "mine")
    for photos, masks in (("mine", "masks2"), ("mine", "mine/masks"), ("mine/photos",) * 2):
        with pytest.raises(DataError, match="separate folders; give the folder"):
            draft_masks(tmp_path / photos, tmp_path / masks, Stub())
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".ora", ".csv")]


def test_a_table_of_somebody_else_stays(tmp_path):
    photo(tmp_path / "photos/a.jpg")
    write(tmp_path / "masks/doubt.csv", "my,own\n1,2\n")
    with pytest.raises(DataError, match="doubt.csv: is not a list of doubt"):
        draft_masks(tmp_path / "photos", tmp_path / "masks", Stub())
    assert (tmp_path / "masks/doubt.csv").read_text() == "my,own\n1,2\n"
    assert not [*tmp_path.rglob("*.ora")]
    write(tmp_path / "masks/doubt.csv", "doubt,photo\r\n0.5,gone.jpg\r\n") # ours
    draft_masks(tmp_path / "photos", tmp_path / "masks", Stub())
    assert "gone" not in (tmp_path / "masks/doubt.csv").read_text()


def test_only_drafts_that_somebody_saved_become_pairs(tmp_path):
    for name in "ab": photo(tmp_path / f"photos/{name}.jpg")
    draft_masks(tmp_path / "photos", tmp_path / "masks", Stub())
    with pytest.raises(DataError, match="a.jpg.ora: a draft that nobody has saved yet"):
        prepare_own(tmp_path, tmp_path / "pairs")
    with zipfile.ZipFile(tmp_path / "masks/b.jpg.ora") as file: # as any program writes it again
        parts = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(tmp_path / "masks/b.jpg.ora", "w") as file:
        for name, part in parts.items(): file.writestr(name, part)
    with pytest.warns(UserWarning, match="a.jpg.ora: a draft"):
        pairs = prepare_own(tmp_path, tmp_path / "pairs")
    assert [path.stem for path in (pairs / "masks").iterdir()] == ["b"]
    assert ((read_mask(pairs / "masks/b.png") == 255) == truth).mean() > 0.98


def test_a_layer_may_be_cropped_grown_or_deep(tmp_path):
    photo(tmp_path / "photos/a.jpg")
    alpha = np.uint8(truth * 255)
    red = np.dstack([alpha, 0 * alpha, 0 * alpha, alpha])
    large = np.zeros((height + 20, width + 20, 4), np.uint8)
    large[10:-10, 10:-10] = red
    for pixels, place in ((red, (0, 0)), (red[5:35, 5:45], (5, 5)), (large, (-10, -10))):
        painted(tmp_path / "masks/a.ora", {"person": pixels}, places={"person": place})
        assert (read_layer(tmp_path / "masks/a.ora", "person")[..., 3] == alpha).all()
    painted(tmp_path / "masks/a.ora", {"person": red[:5, :5]}, places={"person": (200, 200)})
    assert not read_layer(tmp_path / "masks/a.ora", "person").any()


def test_a_painting_that_does_not_fit_is_named(tmp_path):
    photo(tmp_path / "photos/a.jpg")
    mask, right = np.dstack([truth * 255] * 4), np.dstack([np.where(truth, 200, 40)] * 3)
    path = tmp_path / "masks/a.ora"
    def refused() -> str:
        with pytest.raises(DataError) as error: prepare_own(tmp_path, tmp_path / "pairs")
        return str(error.value)
    painted(path, {"person": mask, "photo": 255 - right})
    assert "a.ora: was painted on a photo with another name" in refused()
    painted(path, {"person": mask, "photo": right}, (height, width + 10))
    assert "a.ora: the mask is (40, 70), its photo (40, 60)" in refused()
    painted(path, {"mask": mask, "photo": right})
    assert "a.ora: has the layers mask, photo; one of them must be named person" in refused()
    path.write_bytes(b"no archive")
    assert "a.ora: cannot be read" in refused()
    painted(path, {"person": mask, "photo": right})
    assert len(list((prepare_own(tmp_path, tmp_path / "pairs") / "masks").iterdir())) == 1


def test_a_damaged_painting_loses_one_photo(tmp_path):
    photos_and_masks(tmp_path)
    (tmp_path / "masks/b.png").unlink()
    path, mask = tmp_path / "masks/b.ora", np.dstack([truth * 255] * 4)
    right = np.dstack([np.where(truth, 200, 40)] * 3)
    def is_left_out():
        with pytest.warns(UserWarning, match="b.ora: cannot be read"):
            pairs = prepare_own(tmp_path, tmp_path / "pairs")
        assert [path.stem for path in (pairs / "masks").iterdir()] == ["a"]
    for size in ((999_999, 999_999), (-5, 60), (10 ** 30, 60)):
        painted(path, {"person": mask, "photo": right}, size)
        is_left_out()
    painted(path, {"person": mask, "photo": right})
    with zipfile.ZipFile(path) as file: parts = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, part in parts.items(): file.writestr(name, part)
    data = bytearray(path.read_bytes())
    start = data.index(b"data/0.png") + len(b"data/0.png")
    data[start:start + 8] = b"\xff" * 8 # no deflated data begins like this
    path.write_bytes(data)
    is_left_out()
    data = data.replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\1\0")
    path.write_bytes(data) # each part is said to be encrypted
    is_left_out()


def png_head(height, width) -> bytes:
    sides = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", sides)


@pytest.mark.parametrize("part, data, reason", [
    ("stack.xml", b"<image w='60' h='40'>" + bytes(20_000_000), "its stack.xml would be 20,000,0"),
    ("data/0.png", png_head(height, width) + bytes(20_000_000), "its data/0.png would be 20,000,0"),
    ("data/0.png", png_head(20_000, 10_000), "its size is 20000 by 10000")],
    ids=["a long list", "a long file", "many pixels"])
def test_a_small_painting_that_would_fill_the_memory_is_one_line(tmp_path, part, data, reason):
    path = tmp_path / "a.ora"
    painted(path, {"person": np.dstack([truth * 255] * 4)})
    with zipfile.ZipFile(path) as file: parts = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in (parts | {part: data}).items(): file.writestr(name, content)
    def is_refused():
        with pytest.raises(DataError, match=f"a.ora: cannot be read .{reason}"):
            read_layer(path, "person")
    assert peak_memory(is_refused) < 3_000_000
