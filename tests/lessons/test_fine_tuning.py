"""Fine-tuning: own photos become pairs, who is held out, what a run keeps from its start, and
what a comparison may claim."""
import json
import os
import random
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import pytest

from bg_remover import fine_tuning
from bg_remover.base.files import by_photo
from bg_remover.base.network import shipped_model
from bg_remover.base.pairs import group_alike
from bg_remover.base.runs import RunError
from bg_remover.data_prep import open_coco, person_ids, person_mask
from bg_remover.fine_tuning import compare_networks, explain_difference, export_run, fine_tune
from bg_remover.fine_tuning import hold_out, min_photos, new_share, part_of_the_way, split_pairs
from bg_remover.generator import Pairs
from bg_remover.images import read_image, read_mask, resize_image, write_image, write_mask
from bg_remover.model import pretrained_unet
from bg_remover.removal import Remover
from bg_remover.tool.own_data import prepare_own
from pair_files import make_own_photos

samples = Path(__file__).resolve().parents[2] / "nbs/samples/mini_coco/val2017"


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "mine"
    make_own_photos(folder)
    return folder


def test_masks_of_any_tool_become_the_same_pairs(tmp_path, mine):
    pairs = prepare_own(mine, tmp_path / "pairs", longest=150)
    for number in range(5):
        mask = read_mask(pairs / f"masks/{number}.png")
        assert mask.shape == read_image(pairs / f"frames/{number}.jpg").shape[:2] == (100, 150)
        truth = np.zeros((100, 150), bool)
        truth[25:75, 30 + 5 * number:100] = True
        assert ((mask == 255) != truth).mean() < 0.02


def test_pairs_follow_their_photos(tmp_path, mine):
    source = shutil.copytree(mine, tmp_path / "source")
    pairs = prepare_own(source, tmp_path / "pairs")
    kept = (pairs / "masks/1.png").stat().st_mtime_ns
    write_mask(source / "masks/0.png", np.full((200, 300), 255, np.uint8))
    os.utime(source / "masks/0.png", (time.time() + 10,) * 2)
    for name in ("photos/4.jpg", "masks/2.jpg"): (source / name).unlink()
    with pytest.warns(UserWarning, match="2.jpg: no mask"): prepare_own(source, pairs)
    assert (read_mask(pairs / "masks/0.png") == 255).all()
    assert (pairs / "masks/1.png").stat().st_mtime_ns == kept
    assert not [path for path in pairs.rglob("*") if path.stem in ("2", "4")]
    write_mask(source / "masks/0.png", np.zeros((200, 300), np.uint8))
    os.utime(source / "masks/0.png", (time.time() - 1000,) * 2) # an older file, put in its place
    write_mask(source / "masks/1.jpg.png", np.zeros((5, 5), np.uint8))
    with pytest.warns(UserWarning, match="the mask is .5, 5."): prepare_own(source, pairs)
    assert (read_mask(pairs / "masks/0.png") == 0).all() and not (pairs / "masks/1.png").exists()


@pytest.mark.skipif(os.name == "nt", reason="names there are text")
def test_own_photos_may_have_any_name(tmp_path, mine):
    source, odd = shutil.copytree(mine, tmp_path / "source"), os.fsdecode(b"caf\xe9")
    for folder, suffix in (("photos", ".jpg"), ("masks", ".png")):
        shutil.copy(source / folder / f"0{suffix}", source / folder / f"{odd}{suffix}")
    (source / "photos/folder.jpg").mkdir()
    (source / "photos/dead.jpg").symlink_to(source / "nowhere.jpg")
    shutil.copy(source / "masks/0.png", source / "masks/dead.png")
    with pytest.warns(UserWarning, match="dead.jpg: a broken link"):
        pairs = prepare_own(source, tmp_path / "pairs")
    names = by_photo(pairs / "frames")
    assert odd in names and "dead" not in names and sorted(sum(hold_out(list(names)),
                                                               [])) == sorted(names)


# --- who is held out

def test_a_split_is_the_same_for_everyone():
    names = [str(number) for number in range(50)]
    trained, held = hold_out(names)
    assert sorted(trained + held) == sorted(names) and 5 <= len(held) <= 15
    assert hold_out(names[::-1]) == (trained, held)
    assert len(hold_out(["a", "b"], 0.9)[0]) == 1 and len(hold_out(["a", "b"], 0.01)[1]) == 1
    for names, fraction in ((["a"], 0.2), ([], 0.2), (["a", "b"], 0), (["a", "b"], 1)):
        with pytest.raises(ValueError): hold_out(names, fraction)


def test_photos_added_later_move_no_other():
    for seed in range(200):
        names = [f"IMG_{random.Random(seed).randrange(10 ** 6)}-{number}" for number in range(40)]
        few, more = hold_out(names[:20]), hold_out(names)
        assert not set(few[0]) & set(more[1]), "a photo that was trained on is measured"
        if len(few[1]) > 1: assert not set(few[1]) & set(more[0])


def test_what_a_network_has_learned_from_never_measures_it():
    names = [str(number) for number in range(30)]
    seen = hold_out(names, 0.2)[0]
    learn, held = hold_out(names, 0.9, seen)
    assert set(seen) <= set(learn) and set(held) <= set(names) - set(seen)
    with pytest.raises(ValueError, match="add new ones"): hold_out(names, 0.5, names)


def burst(folder: Path, path: Path, name: str, count: int):
    "A photo and what follows it: each frame a little further, brighter and noisier."
    photo, rng = read_image(path)[:200, :300], np.random.default_rng(0)
    for number in range(count):
        moved = np.roll(photo, 2 * number, axis=1) * (1 + 0.02 * number) + rng.normal(0, 4)
        write_image(folder / f"{name}-{number:02}.jpg", np.uint8(np.clip(moved, 0, 255)))


def test_a_burst_is_one_group_and_other_scenes_are_others(tmp_path):
    paths = sorted(samples.glob("*.jpg"))
    for place, path in enumerate(paths[:3]): burst(tmp_path, path, "abc"[place], 8)
    groups = group_alike(list(tmp_path.iterdir())[::-1])
    assert groups == {f"{one}-{number:02}": f"{one}-00" for one in "abc" for number in range(8)}
    assert group_alike(paths) == {path.stem: path.stem for path in paths}
    assert group_alike([]) == {}


def test_people_before_a_white_wall_are_scenes_of_their_own(tmp_path):
    coco, count = open_coco(samples.parent, "val"), 0
    for image_id in person_ids(coco):
        mask = np.uint8(person_mask(coco, image_id) == 255)
        parts, boxes = cv2.connectedComponentsWithStats(mask)[1:3]
        if len(boxes) < 2: continue
        largest = 1 + boxes[1:, 4].argmax()
        left, top, width, height, _ = boxes[largest]
        person = read_image(samples / coco.imgs[image_id]["file_name"])
        person = np.where((parts == largest)[..., None], person, np.uint8(250))
        person = resize_image(person[top:top + height, left:left + width],
                              (200, min(300, round(200 * width / height))))
        wall, start = np.full((300, 300, 3), 250, np.uint8), 150 - person.shape[1] // 2
        wall[100:, start:start + person.shape[1]] = person
        write_image(tmp_path / f"{image_id}.jpg", wall)
        count += 1
    groups = group_alike(list(tmp_path.iterdir()))
    assert count >= 10 and len(set(groups.values())) >= 0.9 * count


def test_what_shows_the_same_stays_on_one_side():
    names = [f"{scene:03}-{frame}" for scene in range(60) for frame in range(5)]
    groups = {name: f"{name[:3]}-0" for name in names}
    for fraction in (0.01, 0.2, 0.5, 0.99):
        trained, held = hold_out(names, fraction, groups=groups)
        assert sorted(trained + held) == names and trained and held
        assert not {name[:3] for name in trained} & {name[:3] for name in held}
        fewer = [name for name in names if name[-1] in "012" and name < "040"]
        early = hold_out(fewer, fraction, groups=groups)
        moved = set(early[0]) & set(held) | set(early[1]) & set(trained)
        # what is added later, to the same bursts too, moves no other
        assert fraction in (0.01, 0.99) or not moved
    learned = {f"{scene:03}-4" for scene in range(0, 60, 2)} # one frame of every second scene
    assert not [name for name in hold_out(names, 0.99, learned, groups)[1]
                if int(name[:3]) % 2 == 0]
    assert hold_out(names, 0.2) == hold_out(names, 0.2, groups={name: name for name in names})


def test_a_film_with_most_of_the_photos_is_trained_on():
    single = [f"photo-{number}" for number in range(5)]
    for film in (f"film{number}" for number in range(50)): # so that some checksum would choose it
        names = [f"{film}-{frame:02}" for frame in range(95)] + single
        groups = {name: name if name in single else film for name in names}
        trained, held = hold_out(names, groups=groups)
        assert held and set(held) <= set(single) and len(trained) + len(held) == 100
    assert hold_out(names, trained=single, groups=groups)[0] == single # nothing else is new


def test_one_scene_in_all_still_holds_a_photo_out():
    names = [f"film-{frame}" for frame in range(10)]
    for fraction in (0.01, 0.2, 0.99):
        parts = hold_out(names, fraction, groups=dict.fromkeys(names, names[0]))
        assert all(parts) and sorted(sum(parts, [])) == names


def test_the_frames_of_one_film_are_split_with_a_warning(tmp_path):
    for part in ("frames", "masks"): (tmp_path / part).mkdir()
    burst(tmp_path / "frames", sorted(samples.glob("*.jpg"))[0], "film", 10)
    for path in (tmp_path / "frames").iterdir():
        write_mask(tmp_path / f"masks/{path.stem}.png", np.zeros((200, 300), np.uint8))
    with pytest.warns(UserWarning, match="add photos of other scenes"):
        parts = split_pairs(tmp_path)
    assert len(parts["trained"]) + len(parts["held_out"]) == 10


# --- a run

tiny = dict(image_size=(32, 32), epochs=1, steps=1, batch_size=2)


@pytest.fixture(scope="module")
def pairs(mine, tmp_path_factory) -> Path:
    return prepare_own(mine, tmp_path_factory.mktemp("pairs") / "pairs", longest=64)


@pytest.fixture(scope="module")
def run(pairs, tmp_path_factory) -> tuple[Path, dict]:
    "A network of one's own, after one step, and how it compares."
    folder = tmp_path_factory.mktemp("runs") / "run"
    return folder, fine_tune(pairs, folder, **tiny)


@pytest.fixture
def exported(monkeypatch) -> list[dict]:
    "What is handed to `export_onnx`, which takes seconds, in its place."
    calls = []
    monkeypatch.setattr(fine_tuning, "export_onnx", lambda model, path,
                        **settings: calls.append(settings))
    return calls


def unet_limits() -> dict:
    "Those of the U-Net that ships, without a second opinion."
    return json.loads((shipped_model().parent / "start.json").read_text())


def test_a_run_keeps_the_limits_of_the_network_it_started_from(run):
    tuned, unet = Remover(run[0] / "model.onnx"), unet_limits()
    assert tuned.threshold == unet["threshold"]
    assert tuned.min_peak_probability == unet["min_peak_probability"] > 0


def test_limits_can_be_chosen(run, exported):
    unet = unet_limits()
    export_run(run[0], "strict.onnx", threshold=0.7)
    export_run(run[0], "all.onnx", min_peak_probability=0.0)
    assert [(one["threshold"], one["min_peak_probability"]) for one in exported] == [
        (0.7, unet["min_peak_probability"]), (unet["threshold"], 0.0)]


def test_a_run_ends_between_the_old_weights_and_the_new_ones(run):
    model, moved = pretrained_unet(image_size=(32, 32)), 0
    weights = [model.get_weights()]
    for file in (next(run[0].glob("last-*.weights.h5")), run[0] / "person.weights.h5"):
        model.load_weights(file)
        weights.append(model.get_weights())
    for before, after, here in zip(*weights):
        between = before + new_share * (after - before)
        assert np.allclose(here, between, rtol=2e-3, atol=1e-6) # it is stored as float16
        moved += not np.allclose(before, after, rtol=2e-3, atol=1e-6)
    assert moved > 20 # the second half of the encoder, too
    one, other = [np.zeros(2)], [np.full(2, 8.0)]
    assert [part_of_the_way(one, other, share)[0][0] for share in (0, 0.5, 1)] == [0, 4, 8]


def test_before_is_the_shipped_file_and_after_the_exported_one(run, pairs):
    folder, result = run
    held_out = split_pairs(pairs)["held_out"]
    assert result == compare_networks(Remover(), Remover(folder / "model.onnx"),
                                      held_out) and result["photos"] == len(held_out)


def test_a_run_goes_on_from_another(run, pairs, tmp_path):
    first = shutil.copytree(run[0], tmp_path / "first")
    model = onnx.load(first / "model.onnx") # a user's own threshold
    description = json.loads(model.metadata_props[0].value) | dict(threshold=0.6)
    onnx.helper.set_model_props(model, {"bg_remover": json.dumps(description)})
    onnx.save(model, first / "model.onnx")
    second = fine_tune(pairs, tmp_path / "second", start=first, **tiny)
    noted = [json.loads((folder / "pairs.json").read_text())
             for folder in (first, tmp_path / "second")]
    assert noted[0]["trained"].keys() <= noted[1]["trained"].keys()
    assert Remover(tmp_path / "second/model.onnx").threshold == 0.6
    held_out = split_pairs(pairs)["held_out"]
    assert second == compare_networks(Remover(first / "model.onnx"),
                                      Remover(tmp_path / "second/model.onnx"), held_out)


def test_a_network_that_knows_nothing_of_people_has_the_usual_limits(run, tmp_path, exported):
    fine_tuning._save_finished(fine_tuning.pretrained_unet(run[0]), tmp_path,
                               json.loads((run[0] / "person.json").read_text()), {})
    assert exported[0]["threshold"] == 0.5 and exported[0]["min_peak_probability"] == 0


def test_runs_of_earlier_versions_go_on(run, pairs, tmp_path, exported):
    "They noted neither a fraction nor limits, and split in another way."
    folder = shutil.copytree(run[0], tmp_path / "run")
    (folder / "start.json").unlink()
    noted = json.loads((folder / "pairs.json").read_text())
    masks = noted["trained"] | noted["held_out"]
    old = dict(held_out=dict([masks.popitem()]), trained=masks)
    (folder / "pairs.json").write_text(json.dumps(old))
    parts = fine_tuning._keep_split(folder, split_pairs(pairs), 0.2)
    assert [path.stem for path in parts["held_out"].mask_paths] == list(old["held_out"])
    export_run(folder, tmp_path / "net.onnx")
    assert exported[0]["threshold"] == unet_limits()["threshold"]
    assert exported[0]["photos"] == dict(trained=4, held_out=1)


def test_a_run_refuses_another_share_and_other_masks(run, pairs, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "run")
    with pytest.raises(RunError, match="choose a new run folder"):
        fine_tune(pairs, folder, **tiny, holdout_fraction=0.5)
    changed = shutil.copytree(pairs, tmp_path / "pairs")
    write_mask(changed / "masks/0.png", 255 - read_mask(changed / "masks/0.png"))
    with pytest.raises(RunError, match="other photos or masks"): fine_tune(changed, folder, **tiny)
    with pytest.raises(RunError, match="no finished run"):
        fine_tune(pairs, tmp_path / "new", start=tmp_path, **tiny)
    with pytest.raises(RunError, match="no finished run"):
        export_run(tmp_path, tmp_path / "none.onnx")


# --- what a comparison may claim

def network(share: float) -> SimpleNamespace:
    "Finds that share of each photo's person, who is the left half."
    def probability(photo):
        found = np.zeros(photo.shape[:2], np.float32)
        found[:, :round(share * photo.shape[1] / 2)] = 1
        return found
    return SimpleNamespace(probability=probability, threshold=0.5)


def halves(folder: Path, count: int) -> Pairs:
    for part in ("frames", "masks"): (folder / part).mkdir(parents=True)
    mask = np.zeros((10, 40), np.uint8)
    mask[:, :20] = 255
    for number in range(count):
        write_image(folder / f"frames/{number}.png", np.zeros((10, 40, 3), np.uint8))
        write_mask(folder / f"masks/{number}.png", mask)
    return Pairs(folder / "frames", folder / "masks")


def test_a_comparison_by_hand(tmp_path):
    result = compare_networks(network(0.5), network(0.75), halves(tmp_path, min_photos))
    assert result == dict(photos=min_photos, before=0.5, after=0.75, difference=0.25, low=0.25,
                          high=0.25, scatter=0.0)
    assert "better" in explain_difference(result)
    worse = compare_networks(network(0.75), network(0.5), halves(tmp_path / "more", min_photos))
    assert worse["high"] == -0.25 and "keep the one you have" in explain_difference(worse)


def test_few_photos_show_nothing(tmp_path):
    result = compare_networks(network(0), network(1), halves(tmp_path, min_photos - 1))
    assert (result["low"], result["high"]) == (-1, 1) and result["difference"] == 1
    said = "5 photos cannot show which network is better; hold out at least 6"
    assert explain_difference(result) == said
    assert explain_difference(result | dict(photos=1)).startswith("1 photo cannot")


def test_a_small_difference_says_how_many_photos_could_show_it():
    result = dict(photos=12, difference=0.02, low=-0.03, high=0.07, scatter=0.09)
    said = "12 photos cannot show a difference this small"
    assert explain_difference(result) == f"{said}; about 78 held-out photos could"
    assert explain_difference(result | dict(difference=0.0)) == said
