"""Metrics against plain NumPy and naive oracles."""
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bg_remover.metrics import (Figure, bootstrap_interval, boundary_iou, calibration_error, dice,
                                figures, iou, mask_boundary, reliability, score, soft_iou,
                                summarize)

quick = settings(max_examples=60, deadline=None)
sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


@st.composite
def two(draw, first=st.booleans(), second=st.booleans(), first_type=bool, second_type=bool):
    "Two arrays of one size."
    size = draw(sizes)
    return draw(arrays(first_type, size, elements=first)), draw(arrays(second_type, size,
                                                                       elements=second))


probability_and_mask = two(st.floats(0, 1, width=32), st.sampled_from([0, 128, 255]), np.float32,
                           np.uint8)


def pixels(mask):
    "The pixels of a mask as a set: an oracle that shares no code with ours."
    return {(row, column) for row in range(mask.shape[0]) for column in range(mask.shape[1])
            if mask[row, column]}


def set_iou(one, other):
    return len(one & other) / len(one | other) if one | other else 1.0


@given(two())
@quick
def test_iou_and_dice_are_those_of_sets(masks):
    one, other = map(pixels, masks)
    assert iou(*masks) == set_iou(one, other)
    assert dice(*masks) == pytest.approx(2 * len(one & other) / (len(one) + len(other)) if one
                                         or other else 1.0)
    assert iou(*masks) == iou(*masks[::-1])


@pytest.mark.parametrize("kind", [np.uint8, int, np.float32])
def test_iou_takes_zeros_and_ones_of_any_kind(kind):
    one, other = np.array([[0, 1], [1, 1]]), np.array([[0, 1], [0, 0]])
    assert iou(one.astype(kind), other.astype(kind)) == 1 / 3
    assert iou((one * 255).astype(np.uint8), other) == 1 / 3


@pytest.mark.parametrize("prediction",
                         [np.full((4, 4), 0.3), np.zeros((4, 4, 1), bool), np.zeros((4, 1), bool),
                          np.full((4, 4), np.nan)],
                         ids=["probability", "H×W×1", "H×1", "not a number"])
def test_iou_refuses_what_would_count_wrong(prediction):
    with pytest.raises(ValueError): iou(prediction, np.zeros((4, 4), bool))


@given(two(st.floats(0, 1, width=32), st.booleans(), np.float32, bool))
@quick
def test_soft_iou_by_hand(given_pair):
    probability, truth = given_pair
    products = sum(float(p) * bool(t) for p, t in zip(probability.ravel(), truth.ravel()))
    union = sum(map(float, probability.ravel())) + int(truth.sum()) - products
    assume(union == 0 or union > 1e-6)
    assert soft_iou(probability, truth) == pytest.approx(products / union if union else 1.0,
                                                         abs=1e-4)


@given(two())
@quick
def test_soft_iou_of_a_sure_answer_is_iou(masks):
    assert soft_iou(masks[0].astype(float), masks[1]) == pytest.approx(iou(*masks))


def test_soft_iou_of_bytes_does_not_overflow():
    ones = np.ones((40, 40), np.uint8)
    assert soft_iou(ones.astype(np.float32), ones) == 1
    assert soft_iou(ones, ones) == 1


def naive_boundary(mask, width):
    """Pixels of the mask that have something outside it, or the photo's end, within `width`
    steps (diagonal ones too)."""
    inside = pixels(mask)
    steps = [(row, column) for row in range(-width, width + 1)
             for column in range(-width, width + 1)]
    return {(row, column) for row, column in inside
            if any((row + down, column + right) not in inside for down, right in steps)}


@given(two(), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_boundary_is_what_lies_near_the_outside(masks, width):
    assert pixels(mask_boundary(masks[0], width)) == naive_boundary(masks[0], width)


@given(two(), st.sampled_from([0.02, 0.1, 0.2]))
@settings(max_examples=40, deadline=None)
def test_boundary_iou_by_distance(masks, rim):
    height, width = masks[0].shape
    steps = max(1, round(rim * (height ** 2 + width ** 2) ** 0.5))
    assert boundary_iou(*masks, rim) == set_iou(*(naive_boundary(mask, steps) for mask in masks))


def test_a_filled_hole_costs_the_edge_more_than_the_area():
    truth = np.ones((100, 100), bool)
    truth[45:55, 45:55] = False
    filled = np.ones_like(truth)
    assert boundary_iou(filled, truth) < iou(filled, truth)


@given(probability_and_mask, st.floats(0.1, 0.9))
@quick
def test_score_never_looks_at_crowds(given_pair, threshold):
    probability, mask = given_pair
    result = score(probability, mask, threshold)
    ours = {(row, column) for row, column in pixels(mask != 128)
            if probability[row, column] >= threshold}
    true = pixels(mask == 255)
    assert result["iou"] == set_iou(ours, true)
    assert (result["intersection"], result["union"]) == (len(ours & true), len(ours | true))
    assert result["person_fraction"] == pytest.approx(len(true) / mask.size)
    assert score(np.where(mask == 128, 1 - probability, probability), mask, threshold) == result


def test_the_threshold_itself_is_person():
    mask = np.full((2, 2), 255, np.uint8)
    assert score(np.full((2, 2), 0.5), mask)["iou"] == 1
    assert score(np.full((2, 2), 0.49), mask)["iou"] == 0


def test_score_takes_a_bool_mask_and_gives_plain_numbers():
    mask = np.array([[0, 255], [128, 255]], np.uint8)
    result = score(np.array([[True, True], [True, False]]), mask)
    assert result["iou"] == 1 / 3
    assert all(type(value) in (int, float) for value in result.values())
    assert json.loads(json.dumps(result)) == result


@pytest.mark.parametrize("mask",
                         [np.ones((2, 2), np.uint8), np.ones((2, 2), bool),
                          np.full((2, 2), 254, np.uint8)],
                         ids=["zeros and ones", "bool", "smeared"])
def test_score_refuses_a_mask_that_would_read_as_empty(mask):
    with pytest.raises(ValueError, match="128"): score(np.ones((2, 2)), mask)


def test_score_refuses_another_size():
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 2\)"):
        score(np.ones((2, 3)), np.zeros((2, 2), np.uint8))


@given(st.lists(probability_and_mask, min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_summary_is_mean_per_photo_and_all_pixels_pooled(photos):
    result = summarize([score(*photo) for photo in photos])
    flat = [np.concatenate([photo[which].ravel() for photo in photos]) for which in (0, 1)]
    judged = flat[1] != 128
    assert result["photos"] == len(photos)
    assert result["iou"] == pytest.approx(np.mean([score(*photo)["iou"] for photo in photos]))
    assert result["whole_set_iou"] == pytest.approx(iou((flat[0] >= 0.5)[judged],
                                                        (flat[1] == 255)[judged]))


def test_summary_leaves_out_photos_with_too_little_person():
    some, none = np.array([[255, 0]], np.uint8), np.zeros((1, 2), np.uint8)
    scores = [score(np.ones((1, 2)), mask) for mask in (some, none)]
    every, with_person = summarize(scores), summarize(scores, min_person_fraction=0.05)
    assert every["photos"] == 2 and every["iou"] == 0.25
    assert with_person["photos"] == 1 and with_person["iou"] == 0.5
    with pytest.raises(ValueError, match="60%"): summarize(scores, min_person_fraction=0.6)
    with pytest.raises(ValueError, match="no photo"): summarize([])


def test_a_row_in_the_table_is_all_that_a_new_figure_needs(monkeypatch, capsys):
    from bg_remover.tool import cli
    monkeypatch.setitem(figures, "found",
                        Figure("mean found", per_photo=lambda prediction,
                               truth: float(prediction.mean())))
    monkeypatch.setitem(figures, "count", Figure("photo count", pooled=len))
    scores = {name: score(np.full((1, 4), 0.9), np.array([mask], np.uint8))
              for name, mask in {"a": [255, 0, 0, 0], "b": [255, 255, 128, 128]}.items()}
    assert [one["found"] for one in scores.values()] == [1, 0.5] and "count" not in scores["a"]
    result = summarize(list(scores.values()))
    assert list(result) == ["photos", *figures] and result["found"] == 0.75 and result["count"] == 2
    cli._print_figures(cli._figures(scores, 0.0), scores, 0.0)
    printed = capsys.readouterr().out
    assert all(f"{figure.label} " in printed for figure in figures.values())
    assert printed.count("95 % interval") == sum(figure.per_photo is not None
                                                 for figure in figures.values())


# Calibration

@given(probability_and_mask, st.integers(1, 12))
@quick
def test_reliability_counts_what_a_loop_counts(given_pair, bins):
    probability, mask = given_pair
    table = np.zeros((bins, 3))
    for one, kind in zip(probability.ravel().tolist(), mask.ravel().tolist()):
        if kind == 128: continue
        place = max(number for number in range(bins) if number == 0 or one * bins >= number)
        table[place] += 1, one, kind == 255
    np.testing.assert_allclose(reliability(probability, mask, bins), table, atol=1e-9)


def test_tables_of_two_photos_add_up_to_the_table_of_both():
    rng = np.random.default_rng(0)
    probability, mask = rng.random((2, 5, 7)), rng.choice(np.array([0, 128, 255], np.uint8),
                                                          (2, 5, 7))
    together = reliability(probability.reshape(10, 7), mask.reshape(10, 7))
    np.testing.assert_allclose(reliability(probability[0], mask[0])
                               + reliability(probability[1], mask[1]), together)


def test_calibration_error_of_kept_and_of_broken_promises():
    rng = np.random.default_rng(0)
    probability = rng.random((500, 500))
    kept = np.uint8(255) * (rng.random((500, 500)) < probability)
    assert calibration_error(reliability(probability, kept)) < 0.01
    assert calibration_error(reliability(np.full((4, 4), 0.9),
                                         np.zeros((4, 4), np.uint8))) == pytest.approx(0.9)
    assert calibration_error(reliability(np.eye(3), np.uint8(255) * np.eye(3, dtype=np.uint8))) == 0


@pytest.mark.parametrize("count", [1, 7, 333])
def test_an_interval_is_that_of_all_draws_at_once(count):
    values = np.random.default_rng(count).random(count)
    at_once = np.random.default_rng(5).choice(values, (1000, count)).mean(axis=1)
    assert bootstrap_interval(values, 1000, 5) == tuple(np.percentile(at_once, (2.5, 97.5)))


def test_an_interval_of_many_photos_takes_little_memory():
    tracemalloc.start()
    bootstrap_interval(np.ones(2000), draws=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
