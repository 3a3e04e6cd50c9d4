"""The parts of the benchmarks that can be wrong without anybody noticing."""
import csv
import functools
import hashlib
import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bg_remover.generator import augment_pair, view_steps
from bg_remover.images import read_mask
from bg_remover.metrics import bootstrap_interval
from bg_remover.model import build_unet
from bg_remover.removal import Remover
from bg_remover.base.backbones import encoder_layers

import batches as batch_speed
import claims
import coco_pairs
import compare_checkouts
import deeplab_encoder
import evaluate
import fuzz
import growth
import more_passes
import peers
import person_model
import preparation
import recipe
import removal
import train_step

samples = Path(__file__).resolve().parents[2] / "nbs/samples/mini_coco"


@pytest.fixture(scope="module")
def unet(): return build_unet("mobilenetv2", (64, 64), None, (8, 8, 8, 8)).get_layer("unet")


def test_every_convolution_of_the_encoder_has_a_name_in_deeplab(unet):
    names = [deeplab_encoder.deeplab_name(layer.name) for layer in encoder_layers(unet)
             if "Conv2D" in type(layer).__name__]
    blocks = [f"expanded_conv_{number}/{part}" for number in range(1, 17)
              for part in ("expand", "depthwise", "project")]
    assert names == ["Conv", "expanded_conv/depthwise", "expanded_conv/project", *blocks, "aspp0"]


def test_a_filled_encoder_answers_as_kernel_and_bias_do(unet):
    rng = np.random.default_rng(0)
    layers = {}
    for layer in encoder_layers(unet):
        if "Conv2D" not in type(layer).__name__: continue
        *rest, inputs, outputs = layer.kernel.shape
        channels = 256 if layer.name == "Conv_1" else outputs
        count = inputs if "Depthwise" in type(layer).__name__ else channels
        layers[deeplab_encoder.deeplab_name(layer.name)] = rng.normal(0, 0.01,
                                                                      (*rest, inputs,
                                                                       channels)), rng.normal(0, 1,
                                                                                              count)
    deeplab_encoder.fill(unet, layers)
    for conv, follows, name in (("expanded_conv_depthwise", "expanded_conv_depthwise_BN",
                                 "expanded_conv/depthwise"), ("Conv_1", "Conv_1_bn", "aspp0")):
        kernel, bias = layers[name]
        pixels = rng.normal(0, 1, (1, 3, 3, kernel.shape[2])).astype(np.float32)
        answer = np.asarray(unet.get_layer(follows)(unet.get_layer(conv)(pixels),
                                                    training=False))[0, 1, 1]
        # the middle pixel sees all nine
        if "depthwise" in conv: expected = (pixels[0] * kernel[..., 0]).sum((0, 1)) + bias
        else: expected = pixels[0, 1, 1] @ kernel[0, 0] + bias
        np.testing.assert_allclose(answer[:len(expected)], expected, atol=1e-4)


def test_filters_come_out_at_one_size_whatever_they_were():
    rng = np.random.default_rng(0)
    for depthwise, shape in ((False, (3, 3, 8, 5)), (True, (3, 3, 8, 1))):
        kernel = rng.normal(0, 1, shape) * 10.0 ** rng.integers(-3, 1, shape[2:])
        even, factor = deeplab_encoder.standardize(kernel, depthwise)
        np.testing.assert_allclose(even * (factor[:, None] if depthwise else factor), kernel)
        filters = even.reshape(9, 8) if depthwise else even.reshape(72, 5)
        np.testing.assert_allclose((filters**2).mean(axis=0), 2 / len(filters))
    silent, factor = deeplab_encoder.standardize(np.zeros((1, 1, 4, 2)), False)
    assert (silent == 0).all() and (factor == 1).all()


@given(st.integers(1, 400), st.data())
@settings(max_examples=50, deadline=None)
def test_wilson_interval_solves_its_equation(count, data):
    "The ends are the shares p at which the hits lie 1.96 deviations away."
    hits = data.draw(st.integers(0, count))
    low, high = evaluate.wilson_interval(hits, count)
    assert -1e-9 <= low <= hits / count + 1e-9 and hits / count - 1e-9 <= high <= 1 + 1e-9
    for p in (low, high):
        assert (hits / count - p) ** 2 == pytest.approx(1.96**2 * p * (1 - p) / count, abs=1e-9)


def test_bootstrap_interval_is_near_the_normal_one():
    values = np.random.default_rng(1).normal(0.6, 0.2, 400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half,
                                abs=0.003) and high == pytest.approx(values.mean() + half,
                                                                     abs=0.003)


def test_the_fuzz_sees_what_goes_wrong(tmp_path, monkeypatch):
    files, cut = fuzz.whole_files(), fuzz.remove_file
    assert {fuzz.try_one(number, 0, files, tmp_path)[1] for number in range(40)} == {"done",
                                                                                     "refused"}
    assert fuzz.try_one(5, 0, files, tmp_path) == fuzz.try_one(5, 0, files, tmp_path)

    def half_a_file(source, dest, *rest, **how):
        record = cut(source, dest, *rest, **how)
        dest.write_bytes(b"half")
        return record

    def fail(*_, **__): raise KeyError("nobody expects this")

    for wrong, outcome in ((half_a_file, "partial"), (fail, "crash")):
        monkeypatch.setattr(fuzz, "remove_file", wrong)
        assert {fuzz.try_one(number, 0, files, tmp_path)[1] for number in range(10)} == {outcome}
        for path in tmp_path.iterdir(): path.unlink()


def test_the_recipe_compares_photo_by_photo_within_a_seed(tmp_path, monkeypatch):
    "The photos differ far more than the variants: only pairing them tells the variants apart."
    monkeypatch.setattr(recipe, "results", tmp_path / "recipe.csv")
    rng = np.random.default_rng(0)
    hard, noise = rng.uniform(0, 0.8, 120), iter(rng.normal(0, 0.02, (6, 120)))
    for seed in (0, 1):
        for variant, gain in {"the whole recipe": 0.0, "worse": -0.05, "no different": 0.0}.items():
            ious = hard + 0.1 * seed + gain + next(noise)
            rows = [dict(photo=str(number), iou=f"{iou:.4f}", alarm="")
                    for number, iou in enumerate(ious)] + [dict(photo="empty", iou="", alarm=seed)]
            recipe.keep([dict(variant=variant, seed=seed) | row for row in rows])
    whole, worse, same = recipe.table()
    assert whole["change"] == 0 and whole["seeds"] == 2 and whole["alarms"] == 0.5
    assert worse["low"] < -0.05 < worse["high"] < 0 and same["low"] < 0 < same["high"]


def test_a_claim_is_kept_and_replaced_and_better_is_above_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(claims, "results", tmp_path / "results.json")
    assert claims.read_claims() == {}
    claims.keep_claim("speed", [10, 30, 20], [5, 4, 6], "photos/s", limit=[40, 40, 41], aim=3)
    claims.keep_claim("time", [2.0], [6.0], "s", less_is_better=True)
    kept = claims.read_claims()
    assert kept["speed"] == dict(ours=20, baseline=5, ratio=4, limit=40, unit="photos/s", runs=3,
                                 aim=3) and kept["time"]["ratio"] == 3
    claims.keep_claim("speed", [5], [5], "photos/s")
    assert claims.read_claims()["speed"]["ratio"] == 1 and len(claims.read_claims()) == 2
    rows = claims.table().splitlines()
    assert len(rows) == 4 and len({row.count("|")
                                   for row in rows}) == 1 and rows[2] in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_claims_of_the_project_can_be_read():
    for name, entry in claims.read_claims().items():
        assert entry["ours"] > 0 and entry["baseline"] > 0 and entry["runs"] > 0, name


def test_a_round_of_preparation_compares_the_same_photos(tmp_path):
    preparation.repeat_coco(preparation.samples, tmp_path / "coco", 30) # more than there are
    assert all(taken > 0 for taken in preparation.one_round(tmp_path / "coco", tmp_path))
    scores = preparation.agreement(tmp_path / "coco", tmp_path, 24)
    assert scores["ours"] >= 0.98 and 0.5 < scores["original"] < scores["ours"]
    next((tmp_path / "ours/masks").iterdir()).unlink()
    with pytest.raises(RuntimeError, match="same photos"):
        preparation.agreement(tmp_path / "coco", tmp_path, 24)


def test_a_network_in_pieces_is_joined_unless_one_is_damaged(tmp_path):
    pieces = [b"first", b"second"]
    names = [hashlib.sha256(piece).hexdigest() for piece in pieces]
    for name, piece in zip(names, pieces): (tmp_path / name).write_bytes(piece)
    (tmp_path / "resources.json").write_text(json.dumps({"net": dict(chunks=[dict(hash=name)
                                                                             for name in names],
                                                                     size=11)}))
    assert peers.join_pieces(tmp_path, "net") == b"firstsecond"
    (tmp_path / names[1]).write_bytes(b"secund")
    with pytest.raises(ValueError, match="damaged"): peers.join_pieces(tmp_path, "net")
    (tmp_path / "resources.json").write_text(json.dumps({"net": dict(chunks=[dict(hash=names[0])],
                                                                     size=11)}))
    with pytest.raises(ValueError, match="5 bytes and not 11"): peers.join_pieces(tmp_path, "net")


def test_what_cannot_be_installed_is_left_out_with_a_reason(capsys):
    assert not peers.bring(["no-such-command"],
                           "ISNet") and not peers.bring([sys.executable, "-c",
                                                         "raise SystemExit('no such version')"],
                                                        "rembg")
    assert "ISNet is left out" in (told := capsys.readouterr().err) and "no such version" in told
    assert peers.bring([sys.executable, "-c", ""], "rembg") and not capsys.readouterr().err


def test_each_stream_gives_as_many_pairs_as_asked(tmp_path):
    dest = preparation.prepare_pairs(preparation.samples, "train", tmp_path / "pairs", limit=5)
    pairs = batch_speed.Pairs(dest / "frames", dest / "masks")
    for name, make in batch_speed.streams(pairs, tmp_path, 32).items():
        assert sum(len(batch[0] if isinstance(batch, tuple) else batch)
                   for batch in make()) == 32, name


def test_slopes_of_known_growth():
    rows = [dict(task=task, photos=photos, seconds=photos**power, megabytes=7)
            for task, power in (("prepare", 1), ("batch", 2), ("epoch", 0.5), ("remove", 0))
            for photos in (10, 20, 40)]
    found = growth.slopes(rows)
    assert [round(found[task][0], 6) for task in ("prepare", "batch", "epoch", "remove")] == [1, 2,
                                                                                              0.5,
                                                                                              0]
    assert all(abs(memory) < 1e-6 for _, memory in found.values())


def test_multiplications_of_a_convolution_are_counted_in_each_direction():
    import keras
    image = keras.Input((8, 8, 3))
    # 4 × 4 pixels, 4 channels, 27 numbers each
    first = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)
    second = keras.layers.Conv2D(5, 1)(first) # 4 × 4 pixels, 5 channels, 4 numbers each
    # 4 × 4 pixels, 5 channels, 9 numbers each
    last = keras.layers.DepthwiseConv2D(3, padding="same")(second)
    counts, photos = train_step.multiplications(keras.Model(image, last)), train_step.batch_size
    first, second, last = (2 * photos * 16 * each for each in (4 * 27, 5 * 4, 5 * 9))
    assert counts == {"Conv2D": first + second, "Conv2DBackpropFilter": first + second,
                      "Conv2DBackpropInput": second,
                      "DepthwiseConv2dNative": last, "DepthwiseConv2dNativeBackpropFilter": last,
                      "DepthwiseConv2dNativeBackpropInput": last}


@pytest.fixture(scope="module")
def coco_data(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    coco_pairs.make(samples, data)
    return data


def test_a_whole_coco_becomes_what_the_network_is_trained_on(coco_data):
    rows = {split: person_model.split_rows(coco_data, split)
            for split in ("train", "choose", "alarm")}
    for split, source in (("choose", "coco-train2017"), ("alarm", "background")):
        assert [row["source"] for row in rows[split]] == [source]
    for split in rows:
        for row in rows[split]:
            mask = read_mask(coco_data / f"pairs/masks/{row['name']}.png")
            assert mask.any() == (row["source"] != "background")
    held_out = {path.stem for path in (samples / "val2017").glob("*.jpg")}
    assert not held_out & {row["name"] for split in rows for row in rows[split]}
    before = {path: path.stat().st_mtime_ns for path in coco_data.rglob("pairs/*/*.*")}
    coco_pairs.make(samples, coco_data)
    assert before == {path: path.stat().st_mtime_ns for path in coco_data.rglob("pairs/*/*.*")}


def test_phases_follow_one_another_and_go_on_where_they_were(coco_data, tmp_path, monkeypatch):
    first = person_model.Phase("first", 32, 1, 1e-3, 1.0, 1.0, steps=1)
    second = person_model.Phase("second", 32, 1, 0.0, 1.0, 1.0, often={"coco": 3}, steps=2,
                                start=("first/best.weights.h5", "first/last-1.weights.h5"))
    monkeypatch.setattr(person_model, "phases", [first, second])
    monkeypatch.setattr(person_model, "net",
                        dict(backbone="mobilenet", decoder_filters=(2, 2, 2, 2)))
    monkeypatch.setattr(person_model, "batch_size", 2)
    person_model.train_all(coco_data, tmp_path, None)
    assert [row["samples_seen"] for row in person_model.join_histories(tmp_path)] == [2, 6]
    ends = [person_model.trained(tmp_path, 32, (file,)).trainable_variables
            for file in ("first/last-1.weights.h5", "second/last-1.weights.h5")]
    # a rate of 0 leaves what it started from
    assert all(np.allclose(one, other, atol=1e-6) for one, other in zip(*ends))
    before = (tmp_path / "second/history.csv").stat().st_mtime_ns
    person_model.train_all(coco_data, tmp_path, None)
    assert (tmp_path / "second/history.csv").stat().st_mtime_ns == before


def test_a_source_comes_as_often_as_asked(coco_data):
    once, often = (person_model.split_pairs(coco_data, "train", asked)
                   for asked in (None, {"coco": 3}))
    people = sum(row["source"] != "background"
                 for row in person_model.split_rows(coco_data, "train"))
    assert len(often) == len(once) + 2 * people


def test_frame_and_mask_agree_in_a_crowd_and_a_pasted_person_is_not_mirrored(monkeypatch):
    # no other light: white stays a person
    monkeypatch.setattr(more_passes, "augment_pair",
                        functools.partial(augment_pair, steps=view_steps))
    mask = np.zeros((60, 80, 1), np.uint8)
    mask[20:50, 30:50] = 1
    person, nobody = (np.repeat(255 * mask, 3, axis=2), mask), (np.zeros((60, 80, 3), np.uint8),
                                                                0 * mask)

    def views(border):
        return [more_passes.anywhere(*person, (64, 64), np.random.default_rng(seed), 0.3, border)[1]
                for seed in range(40)]
    alone, mirrored = views(cv2.BORDER_CONSTANT), views(cv2.BORDER_REFLECT_101)
    assert all((one <= other).all()
               for one, other in zip(alone, mirrored)) and np.mean(alone) < 0.8 * np.mean(mirrored)
    assert min(mask.mean() for mask in alone if mask.any()) < 0.05 < 0.25 < max(mask.mean()
                                                                                for mask in alone)
    read_one = more_passes.crowded([nobody, person], (64, 64))
    pictures = [read_one(0, np.random.default_rng(seed)) for seed in range(40)]
    # somebody came to a photo of nobody, not always
    assert 0.2 < np.mean([mask.any() for _, mask in pictures]) < 0.8
    assert all(((frame[..., :1] > 127) != mask).mean() < 0.05 for frame, mask in pictures)


def test_more_passes_are_trained_and_compared_with_what_ships(coco_data, tmp_path, monkeypatch):
    net = build_unet("mobilenet", (32, 32), None, (2, 2, 2, 2))
    few = dict(pretrained_unet=lambda image_size: net, seeds=(6, 7), side=32, epochs=1, steps=1,
               batch_size=2, results=tmp_path / "table.csv")
    for name, value in few.items(): monkeypatch.setattr(more_passes, name, value)
    more_passes.train_harder(coco_data, tmp_path, 6, 1)
    # what it left, as if another had left it too
    shutil.copytree(tmp_path / "seed-6", tmp_path / "seed-7")
    monkeypatch.setattr(more_passes, "photo_ious", lambda data,
                        files: np.array([0.5, 0.6]) + 0.1 * (more_passes.shipped_file() in files))
    more_passes.measure(coco_data, tmp_path)
    with open(tmp_path / "table.csv", newline="") as file: rows = list(csv.DictReader(file))
    assert [int(row["more_passes"]) for row in rows] == [0, 2, 2, 4, 4]
    assert [float(row["change"]) for row in rows] == [0, -0.1, -0.1, -0.1, 0]


def test_the_parts_of_one_photo_are_timed(monkeypatch):
    monkeypatch.setattr(removal, "repeats", dict.fromkeys(removal.repeats, 1))
    path = removal.samples[0]
    rows = {name: value for _, name, _, value in removal.one_photo(0.3, path, Remover())}
    assert rows["whole"] > 0 and {"decode", "network", "refine", "encode"} <= set(rows)


def test_checkouts_are_compared_before_over_after():
    names, measured = iter("abcdef"), {"old": [6, 2, 4], "new": [1, 2, 3]}
    pairs = compare_checkouts.by_turns(lambda name: (next(names), measured[name].pop()), "old",
                                       "new", 3)
    assert "".join(place for pair in pairs for place, _ in pair) == "abcdef"
    row = compare_checkouts.compare("one photo", "seconds",
                                    [(old, new) for (_, old), (_, new) in pairs])
    assert row == {"before": 4, "after": 2, "before / after": 2, "runs": 3}
