"""Loss and metric against other sources, crowds that count neither way, and honest scores."""
import keras
import numpy as np
import pytest

from bg_remover.base.backbones import segmentation_models
from bg_remover.generator import PairError, Pairs
from bg_remover.images import write_image, write_mask
from bg_remover.training import (PhotoIoU, WholeSetIoU, bce_jaccard_loss, evaluate,
                                 photo_jaccard_loss, score_pairs)
from tiny_training import pairs

rng = np.random.default_rng(0)


def test_loss_equals_segmentation_models():
    sm = segmentation_models()
    sm.set_framework("tf.keras")
    truth = rng.integers(0, 2, (3, 8, 8, 1)).astype("float32")
    # at exactly 0 and 1 the two clip differently
    for probability in (rng.random((3, 8, 8, 1)).astype("float32"), truth, 0.99 - 0.98 * truth):
        theirs = sm.losses.bce_jaccard_loss(keras.ops.convert_to_tensor(truth),
                                            keras.ops.convert_to_tensor(probability))
        assert np.isclose(bce_jaccard_loss(truth, probability), theirs, atol=1e-5)


def test_loss_of_an_empty_photo_is_finite_and_zero_when_right():
    nobody = np.zeros((1, 4, 4, 1), "float32")
    assert float(bce_jaccard_loss(nobody, nobody)) < 1e-5


def test_loss_by_photo_is_the_mean_of_the_photos_and_equals_numpy():
    truth = rng.integers(0, 2, (3, 8, 6, 1)).astype("float32")
    probability = rng.uniform(0.01, 0.99, (3, 8, 6, 1)).astype("float32")
    truth[0] = 0
    expected = []
    for one, other in zip(truth, probability):
        cross_entropy = -np.mean(np.where(one == 1, np.log(other), np.log(1 - other)))
        # 1 % of 48 pixels
        shared, either = (one * other).sum() + 0.48, (one + other - one * other).sum() + 0.48
        expected.append(cross_entropy + 1 - shared / either)
    assert float(photo_jaccard_loss(truth, probability)) == pytest.approx(np.mean(expected),
                                                                          rel=1e-4)
    one_by_one = [float(photo_jaccard_loss(truth[number:number + 1],
                                           probability[number:number + 1])) for number in range(3)]
    assert float(photo_jaccard_loss(truth, probability)) == pytest.approx(np.mean(one_by_one),
                                                                          rel=1e-4)


def test_loss_by_photo_is_zero_when_right_and_grows_with_a_false_alarm():
    nobody = np.zeros((1, 20, 20, 1), "float32")
    losses = [float(photo_jaccard_loss(nobody, nobody + share))
              for share in np.float32([0, 0.001, 0.01, 0.1])]
    assert losses[0] < 1e-5 and losses == sorted(losses) and losses[2] > 0.4


def test_whole_set_iou_pools_all_batches():
    truth, probability = rng.integers(0, 2, (6, 5, 5, 1)), rng.random((6, 5, 5, 1))
    metric = WholeSetIoU()
    for part in (slice(0, 1), slice(1, 6)):
        metric.update_state(keras.ops.convert_to_tensor(truth[part].astype("float32")),
                            keras.ops.convert_to_tensor(probability[part].astype("float32")))
    guess = probability.astype("float32") >= 0.5
    assert np.isclose(float(metric.result()),
                      (guess & (truth == 1)).sum() / (guess | (truth == 1)).sum())


def test_whole_set_iou_of_nothing_is_one():
    metric = WholeSetIoU()
    metric.update_state(np.zeros((1, 2, 2, 1), "float32"), np.zeros((1, 2, 2, 1), "float32"))
    assert float(metric.result()) == 1


def test_mask_of_another_size_and_missing_masks_are_named(pairs, tmp_path):
    for part in ("frames", "masks"): (tmp_path / part).mkdir()
    write_image(tmp_path / "frames/a.png", np.zeros((4, 4, 3), np.uint8))
    write_mask(tmp_path / "masks/a.png", np.zeros((4, 5), np.uint8))
    with pytest.raises(PairError, match="a.png"):
        evaluate(lambda image: np.zeros(image.shape[:2]),
                 Pairs(tmp_path / "frames", tmp_path / "masks"))
    with pytest.raises(PairError, match="masks_dir"):
        evaluate(lambda image: np.zeros(image.shape[:2]), Pairs(pairs / "frames"))


def test_evaluate_scores_at_native_size_and_ignores_crowds(pairs, tmp_path):
    for part in ("frames", "masks"): (tmp_path / part).mkdir()
    mask = np.zeros((30, 20), np.uint8)
    mask[:10], mask[10:20] = 255, 128
    write_image(tmp_path / "frames/a.png", np.zeros((30, 20, 3), np.uint8))
    write_mask(tmp_path / "masks/a.png", mask)
    top_two_thirds = lambda image: np.repeat(np.arange(30) < 20, 20).reshape(30,
                                                                             20).astype("float32")
    one = Pairs(tmp_path / "frames", tmp_path / "masks")
    assert evaluate(top_two_thirds, one)["iou"] == 1
    assert score_pairs(top_two_thirds, one)[0]["person_fraction"] == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="no photo"):
        evaluate(top_two_thirds, one, min_person_fraction=0.5)


# Crowds: 0.5 in the truth

def with_crowd(seed=0):
    "Three photos with a crowd in two of them; the answer twice, different only there."
    chance = np.random.default_rng(seed)
    truth = chance.integers(0, 2, (3, 8, 6, 1)).astype("float32")
    answer = chance.uniform(0.05, 0.95, truth.shape).astype("float32")
    truth[0, :3], truth[1, 4:, 2:] = 0.5, 0.5
    other = np.where(truth == 0.5, 1 - answer, answer)
    return truth, answer, other


@pytest.mark.parametrize("loss", [bce_jaccard_loss, photo_jaccard_loss])
def test_what_is_said_of_a_crowd_changes_no_loss_and_has_no_gradient(loss):
    import tensorflow as tf
    truth, answer, other = with_crowd()
    assert float(loss(truth, answer)) == pytest.approx(float(loss(truth, other)), abs=1e-6)
    tensor = tf.constant(answer)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = loss(truth, tensor)
    gradient = tape.gradient(value, tensor).numpy()
    assert (gradient[truth == 0.5] == 0).all() and (gradient[truth != 0.5] != 0).all()


def test_a_photo_with_a_crowd_costs_what_the_rest_of_it_would():
    truth, answer = np.zeros((1, 4, 6, 1), "float32"), np.full((1, 4, 6, 1), 0.3, "float32")
    truth[0, 0] = 1
    half_crowd, half = np.concatenate([truth, np.full_like(truth, 0.5)],
                                      axis=1), np.concatenate([answer, answer], axis=1)
    assert float(bce_jaccard_loss(half_crowd,
                                  half)) == pytest.approx(float(bce_jaccard_loss(truth, answer)),
                                                          rel=1e-5)


@pytest.mark.parametrize("metric", [PhotoIoU, WholeSetIoU])
def test_what_is_said_of_a_crowd_changes_no_metric(metric):
    truth, answer, other = with_crowd()
    results = []
    for each in (answer, other):
        measured = metric()
        measured.update_state(truth, each)
        results.append(float(measured.result()))
    assert results[0] == results[1]


def test_iou_per_photo_is_that_of_the_scorer_however_it_is_batched():
    from bg_remover.metrics import score
    truth, answer, _ = with_crowd(1)
    expected = np.mean([score(one[..., 0],
                              np.uint8([0, 128, 255])[(mask[..., 0] * 2).astype(int)])["iou"]
                        for one, mask in zip(answer, truth)])
    for parts in ([3], [1, 3], [2, 3]):
        metric, begin = PhotoIoU(), 0
        for end in parts:
            metric.update_state(truth[begin:end], answer[begin:end])
            begin = end
        assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


def test_a_photo_that_is_all_crowd_is_finite():
    crowd, answer = np.full((1, 4, 4, 1), 0.5, "float32"), np.full((1, 4, 4, 1), 0.9, "float32")
    for loss in (bce_jaccard_loss, photo_jaccard_loss): assert float(loss(crowd, answer)) < 1e-5


@pytest.mark.parametrize("loss", [bce_jaccard_loss, photo_jaccard_loss])
def test_losses_and_metrics_are_known_to_keras(loss):
    load, save = keras.saving.deserialize_keras_object, keras.saving.serialize_keras_object
    assert load(save(loss)) is loss
    assert load(save(PhotoIoU(0.3))).threshold == 0.3
