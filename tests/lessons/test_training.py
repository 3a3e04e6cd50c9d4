"""Loss and metric against other sources, interruption and resume, export."""
import json
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from bg_remover.generator import PairError, Pairs, batches
from bg_remover.images import write_image, write_mask
from bg_remover.model import build_unet, predict_probability
from bg_remover.base.backbones import encoder_layers, segmentation_models
from bg_remover.base.network import onnxruntime
from bg_remover.base.optimizers import EncoderRate, FusedAdam, warm_cosine
from bg_remover.base.runs import RunError, read_history, save_weights
from bg_remover.training import WholeSetIoU, bce_jaccard_loss, evaluate, photo_jaccard_loss, score_pairs, train
from bg_remover.base.export import export_onnx, save_half_weights

rng = np.random.default_rng(0)
decoder = (16, 16, 8, 8, 8)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    "Ten photos of a bright square somewhere on noise."
    folder = tmp_path_factory.mktemp("pairs")
    for part in ("frames", "masks"): (folder / part).mkdir()
    for number in range(10):
        mask = np.zeros((40, 48), np.uint8)
        top, left = rng.integers(0, 20, 2)
        mask[top:top + 16, left:left + 16] = 255
        frame = rng.integers(0, 60, (40, 48, 3), np.uint8) + mask[..., None] // 2
        write_image(folder / "frames" / f"{number}.png", frame)
        write_mask(folder / "masks" / f"{number}.png", mask)
    return folder


@pytest.fixture(scope="module")
def unet():
    keras.utils.set_random_seed(0)
    return build_unet("mobilenetv2", (64, 64), encoder_weights=None, decoder_filters=decoder)


def tiny_net():
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
                             keras.layers.BatchNormalization(), keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")], name="tiny")


def tiny_run(folder, run_dir, epochs, augment=None, net=None, **settings):
    "Train the tiny net on the pairs in `folder`; returns net and history."
    pairs = Pairs(folder / "frames", folder / "masks")
    net = net or tiny_net()
    stream = batches(pairs, (32, 32), batch_size=4, shuffle=True, seed=5, augment=augment)
    return net, train(net, stream, batches(pairs, (32, 32), batch_size=4), run_dir, epochs, verbose=0, **dict(learning_rate=1e-2) | settings)


def test_loss_equals_segmentation_models():
    sm = segmentation_models()
    sm.set_framework("tf.keras")
    truth = rng.integers(0, 2, (3, 8, 8, 1)).astype("float32")
    for probability in (rng.random((3, 8, 8, 1)).astype("float32"), truth, 0.99 - 0.98 * truth): # at exactly 0 and 1 the two clip differently
        theirs = sm.losses.bce_jaccard_loss(keras.ops.convert_to_tensor(truth), keras.ops.convert_to_tensor(probability))
        assert np.isclose(bce_jaccard_loss(truth, probability), theirs, atol=1e-5)


def test_loss_of_an_empty_photo_is_finite_and_zero_when_right():
    nobody = np.zeros((1, 4, 4, 1), "float32")
    assert float(bce_jaccard_loss(nobody, nobody)) < 1e-5


def test_loss_by_photo_is_the_mean_of_the_photos_and_equals_numpy():
    truth, probability = rng.integers(0, 2, (3, 8, 6, 1)).astype("float32"), rng.uniform(0.01, 0.99, (3, 8, 6, 1)).astype("float32")
    truth[0] = 0
    expected = []
    for one, other in zip(truth, probability):
        cross_entropy = -np.mean(np.where(one == 1, np.log(other), np.log(1 - other)))
        shared, either = (one * other).sum() + 0.48, (one + other - one * other).sum() + 0.48 # 1 % of 48 pixels
        expected.append(cross_entropy + 1 - shared / either)
    assert float(photo_jaccard_loss(truth, probability)) == pytest.approx(np.mean(expected), rel=1e-4)
    one_by_one = [float(photo_jaccard_loss(truth[number:number + 1], probability[number:number + 1])) for number in range(3)]
    assert float(photo_jaccard_loss(truth, probability)) == pytest.approx(np.mean(one_by_one), rel=1e-4)


def test_loss_by_photo_is_zero_when_right_and_grows_with_a_false_alarm():
    nobody = np.zeros((1, 20, 20, 1), "float32")
    losses = [float(photo_jaccard_loss(nobody, nobody + share)) for share in np.float32([0, 0.001, 0.01, 0.1])]
    assert losses[0] < 1e-5 and losses == sorted(losses) and losses[2] > 0.4


def test_whole_set_iou_pools_all_batches():
    truth, probability = rng.integers(0, 2, (6, 5, 5, 1)), rng.random((6, 5, 5, 1))
    metric = WholeSetIoU()
    for part in (slice(0, 1), slice(1, 6)): metric.update_state(keras.ops.convert_to_tensor(truth[part].astype("float32")), keras.ops.convert_to_tensor(probability[part].astype("float32")))
    guess = probability.astype("float32") >= 0.5
    assert np.isclose(float(metric.result()), (guess & (truth == 1)).sum() / (guess | (truth == 1)).sum())


def test_whole_set_iou_of_nothing_is_one():
    metric = WholeSetIoU()
    metric.update_state(np.zeros((1, 2, 2, 1), "float32"), np.zeros((1, 2, 2, 1), "float32"))
    assert float(metric.result()) == 1


killer = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_training as test
from bg_remover.generator import Pairs, batches
from bg_remover.images import resize_image, resize_mask
from bg_remover.training import train
folder, run_dir, reads = Path({folder!r}), Path({run_dir!r}), 0
def augment(frame, mask, image_size, rng):
    global reads
    reads += stream.epoch == 1
    if reads > {allowed}: os.kill(os.getpid(), signal.SIGKILL)
    return resize_image(frame, image_size), resize_mask(mask, image_size).reshape(*image_size, 1)
pairs = Pairs(folder / "frames", folder / "masks")
stream = batches(pairs, (32, 32), batch_size=4, shuffle=True, seed=5, augment=augment)
train(test.tiny_net(), stream, batches(pairs, (32, 32), batch_size=4), run_dir, 3, learning_rate=1e-2, verbose=0)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
@pytest.mark.parametrize("allowed", [0, 6], ids=["between epochs", "inside epoch 2"])
def test_killed_run_goes_on_as_if_unbroken(pairs, tmp_path, allowed):
    code = killer.format(tests=str(Path(__file__).parents[1]), folder=str(pairs), run_dir=str(tmp_path / "killed"), allowed=allowed)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == -signal.SIGKILL
    assert [row["epoch"] for row in read_history(tmp_path / "killed/history.csv")] == [1]
    unbroken, expected = tiny_run(pairs, tmp_path / "unbroken", 3)
    resumed, history = tiny_run(pairs, tmp_path / "killed", 3)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    for row, other in zip(history, expected): assert row == pytest.approx(other, abs=1e-5)
    assert int(resumed.optimizer.iterations) == int(unbroken.optimizer.iterations) == 3 * 3
    assert float(resumed.optimizer.learning_rate) == float(unbroken.optimizer.learning_rate)
    for one, other in zip(resumed.get_weights(), unbroken.get_weights()): np.testing.assert_allclose(one, other, atol=1e-5)


def test_learning_rate_halves_on_a_plateau_also_across_calls(pairs, tmp_path):
    frozen = tiny_net()
    frozen.trainable = False # nothing improves, so the plateau comes
    _, unbroken = tiny_run(pairs, tmp_path / "unbroken", 9, net=frozen)
    for epochs in (3, 9): _, broken = tiny_run(pairs, tmp_path / "broken", epochs, net=frozen)
    rates = [row["learning_rate"] for row in unbroken]
    assert rates[0] == pytest.approx(1e-2) and rates[-1] == pytest.approx(5e-3)
    assert [row["learning_rate"] for row in broken] == rates


def test_schedule_goes_on_where_it_was(pairs, tmp_path):
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, 9)
    _, unbroken = tiny_run(pairs, tmp_path / "unbroken", 3, learning_rate=schedule)
    for epochs in (1, 3): _, broken = tiny_run(pairs, tmp_path / "broken", epochs, learning_rate=schedule)
    rates = [row["learning_rate"] for row in broken]
    assert rates == [row["learning_rate"] for row in unbroken] and rates[0] > rates[1] > rates[2]


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_fused_updates_are_those_of_keras(decay):
    schedule, start = keras.optimizers.schedules.CosineDecay(0.1, 6), [rng.normal(size=shape).astype("float32") for shape in ((3, 3, 2, 4), (4,), ())]
    ours, theirs = EncoderRate(schedule, decay=decay), keras.optimizers.Adam(schedule, weight_decay=decay or None)
    ends = []
    for optimizer in (ours, theirs):
        variables = [keras.Variable(value) for value in start]
        for step in range(5): optimizer.apply([keras.ops.sin((step + 1) * variable.value) for variable in variables], variables)
        ends.append([*variables, *optimizer.variables])
    assert len(ends[0]) == len(ends[1]) == 3 * 3 + 1 # with the iterations: the state that a run folder keeps
    for one, other in zip(*ends): np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-4, atol=1e-5) # a step is 0.1


def test_training_step_is_traced_once_and_each_update_is_one_operation(pairs, tmp_path):
    traced = []
    class Counted(keras.layers.Layer):
        def call(self, inputs, training=None):
            if training: traced.append(1)
            return inputs
    net = tiny_net()
    net = keras.Sequential([keras.Input((32, 32, 3)), Counted(), *net.layers], name="tiny")
    traced.clear()
    with_batches = Pairs(pairs / "frames", pairs / "masks", count=8)
    train(net, batches(with_batches, (32, 32), batch_size=4), batches(with_batches, (32, 32), batch_size=4), tmp_path, 2, verbose=0)
    assert len(traced) == 1
    update = tf.function(lambda: net.optimizer.apply([keras.ops.ones_like(weight) for weight in net.trainable_variables])).get_concrete_function()
    kinds = [operation.type for operation in update.graph.get_operations()]
    assert kinds.count("ResourceApplyAdam") == len(net.trainable_variables) and "Sqrt" not in kinds


def test_encoder_takes_its_share_of_each_step():
    slow, fast = (keras.Variable(np.ones(3, np.float32), name=name) for name in ("slow", "fast"))
    optimizer = EncoderRate(0.01, frozenset({slow.path}), share=0.1)
    for _ in range(3): optimizer.apply([keras.ops.ones(3), keras.ops.ones(3)], [slow, fast])
    assert np.asarray(fast) == pytest.approx(1 - 3 * 0.01, abs=1e-5) and np.asarray(slow) == pytest.approx(1 - 3 * 0.001, abs=1e-5)


def test_only_the_encoder_of_a_unet_is_slowed(unet, pairs, tmp_path):
    data = Pairs(pairs / "frames", pairs / "masks", count=2)
    net = keras.models.clone_model(unet)
    net.set_weights(unet.get_weights())
    train(net, batches(data, (64, 64), 2), batches(data, (64, 64)), tmp_path, 1, learning_rate=1e-2, encoder_lr_scale=0.0, verbose=0)
    moved = {weight.path for weight, before in zip(net.trainable_weights, unet.trainable_weights) if np.abs(np.asarray(weight) - np.asarray(before)).max() > 0}
    encoder = {weight.path for layer in encoder_layers(net.get_layer("unet")) for weight in layer.trainable_weights}
    assert encoder and moved == {weight.path for weight in net.trainable_weights} - encoder


def test_warm_cosine_climbs_and_falls():
    rate = warm_cosine(1e-2, 200)
    values = [float(rate(step)) for step in range(201)]
    assert values[0] == 0 and values[10] == max(values) == pytest.approx(1e-2) and values[5] == pytest.approx(5e-3)
    assert values[10:] == sorted(values[10:], reverse=True) and values[-1] == pytest.approx(2e-4)
    assert values[105] == pytest.approx((1e-2 + 2e-4) / 2, rel=0.01) # half way down the cosine


def test_finished_run_is_not_done_again(pairs, tmp_path):
    tiny_run(pairs, tmp_path, 1)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    tiny_run(pairs, tmp_path, 1)
    assert before == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_other_settings_are_refused(pairs, tmp_path):
    tiny_run(pairs, tmp_path, 1)
    for other in (dict(learning_rate=1e-3), dict(loss=photo_jaccard_loss)):
        with pytest.raises(RunError, match="other settings"): tiny_run(pairs, tmp_path, 2, **other)


def test_other_frozen_layers_and_other_pairs_are_refused(pairs, tmp_path):
    tiny_run(pairs, tmp_path, 1)
    net = tiny_net()
    net.layers[1].trainable = False
    with pytest.raises(RunError, match="other settings"): tiny_run(pairs, tmp_path, 2, net=net)
    some = Pairs(pairs / "frames", pairs / "masks", count=8)
    with pytest.raises(RunError, match="other settings"):
        train(tiny_net(), batches(some, (32, 32), batch_size=4, shuffle=True, seed=5), batches(some, (32, 32)), tmp_path, 2, learning_rate=1e-2)


def test_left_over_weights_of_a_killed_run_are_removed(pairs, tmp_path):
    (tmp_path / ".0123.weights.h5").write_bytes(b"half")
    tiny_run(pairs, tmp_path, 1)
    assert not list(tmp_path.glob(".*"))


def test_damaged_history_is_named(tmp_path):
    (tmp_path / "history.csv").write_text("epoch,loss\n1,0.5\n2")
    with pytest.raises(ValueError, match="history.csv"): read_history(tmp_path / "history.csv")


def test_mask_of_another_size_and_missing_masks_are_named(pairs, tmp_path):
    for part in ("frames", "masks"): (tmp_path / part).mkdir()
    write_image(tmp_path / "frames/a.png", np.zeros((4, 4, 3), np.uint8))
    write_mask(tmp_path / "masks/a.png", np.zeros((4, 5), np.uint8))
    with pytest.raises(PairError, match="a.png"): evaluate(lambda image: np.zeros(image.shape[:2]), Pairs(tmp_path / "frames", tmp_path / "masks"))
    with pytest.raises(PairError, match="masks_dir"): evaluate(lambda image: np.zeros(image.shape[:2]), Pairs(pairs / "frames"))


def test_damaged_weights_are_named(pairs, tmp_path):
    tiny_run(pairs, tmp_path, 1)
    (tmp_path / "last-1.weights.h5").write_bytes(b"not weights")
    with pytest.raises(RunError, match="last-1.weights.h5"): tiny_run(pairs, tmp_path, 2)


def test_best_weights_are_those_of_the_best_epoch(pairs, tmp_path):
    net, history = tiny_run(pairs, tmp_path, 4)
    net.load_weights(tmp_path / "best.weights.h5")
    best = max(row["val_iou"] for row in history)
    val = batches(Pairs(pairs / "frames", pairs / "masks"), (32, 32), batch_size=4)
    assert net.evaluate(val, verbose=0, return_dict=True)["iou"] == pytest.approx(best, abs=1e-6)


def test_failed_save_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    net, path = tiny_net(), tmp_path / "net.weights.h5"
    save_weights(net, path)
    before = path.read_bytes()
    def full_disk(part):
        part.write_bytes(b"half")
        raise OSError("no space left on device")
    monkeypatch.setattr(net, "save_weights", full_disk)
    with pytest.raises(OSError): save_weights(net, path)
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == [path.name]


def test_evaluate_scores_at_native_size_and_ignores_crowds(pairs, tmp_path):
    for part in ("frames", "masks"): (tmp_path / part).mkdir()
    mask = np.zeros((30, 20), np.uint8)
    mask[:10], mask[10:20] = 255, 128
    write_image(tmp_path / "frames/a.png", np.zeros((30, 20, 3), np.uint8))
    write_mask(tmp_path / "masks/a.png", mask)
    top_two_thirds = lambda image: np.repeat(np.arange(30) < 20, 20).reshape(30, 20).astype("float32")
    one = Pairs(tmp_path / "frames", tmp_path / "masks")
    assert evaluate(top_two_thirds, one)["iou"] == 1
    assert score_pairs(top_two_thirds, one)[0]["person_fraction"] == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="no photo"): evaluate(top_two_thirds, one, min_person_fraction=0.5)


@pytest.mark.parametrize("half", [False, True])
def test_exported_file_answers_as_keras_does(unet, tmp_path, half):
    export_onnx(unet, tmp_path / "net.onnx", threshold=0.4, half=half, trained_on="squares")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    pixels = rng.uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    difference = np.abs(session.run(["probability"], {"image": pixels})[0] - keras.ops.convert_to_numpy(unet(pixels, training=False)))
    assert difference.mean() < 1e-3 and (half or difference.max() < 1e-3)
    description = json.loads(session.get_modelmeta().custom_metadata_map["bg_remover"])
    assert description["image_size"] == [64, 64] and description["threshold"] == 0.4 and description["trained_on"] == "squares"


def test_a_network_trained_in_mixed_precision_is_exported_in_float32(unet, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = build_unet("mobilenetv2", (64, 64), encoder_weights=None, decoder_filters=decoder)
        mixed.set_weights(unet.get_weights())
        export_onnx(mixed, tmp_path / "mixed.onnx")
    finally: keras.config.set_dtype_policy(before)
    session = onnxruntime.InferenceSession(tmp_path / "mixed.onnx", providers=["CPUExecutionProvider"])
    pixels = rng.uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    assert np.abs(session.run(["probability"], {"image": pixels})[0] - keras.ops.convert_to_numpy(unet(pixels, training=False))).max() < 1e-3


def test_a_network_that_was_just_trained_is_exported(pairs, tmp_path):
    net = tiny_run(pairs, tmp_path / "run", 1, learning_rate=warm_cosine(1e-2, 3))[0]
    export_onnx(net, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    pixels = rng.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    assert np.abs(session.run(["probability"], {"image": pixels})[0] - keras.ops.convert_to_numpy(net(pixels, training=False))).max() < 1e-3


def test_a_network_with_an_operation_in_front_is_exported(unet, tmp_path):
    image = keras.Input(unet.input_shape[1:], name="image")
    export_onnx(keras.Model(image, unet(keras.ops.flip(image, axis=-1))), tmp_path / "flipped.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "flipped.onnx", providers=["CPUExecutionProvider"])
    pixels = rng.uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    assert np.abs(session.run(["probability"], {"image": pixels})[0] - keras.ops.convert_to_numpy(unet(pixels[..., ::-1], training=False))).max() < 1e-3


def test_exported_network_enlarges_in_the_words_of_the_runtime(unet, tmp_path):
    "Not by repeating rows and columns, for which the runtime has no fast way."
    import onnx
    export_onnx(unet, tmp_path / "net.onnx")
    nodes = onnx.load(tmp_path / "net.onnx").graph.node
    assert "Tile" not in {node.op_type for node in nodes}
    assert sum(node.op_type == "Resize" and b"asymmetric" in [attribute.s for attribute in node.attribute] for node in nodes) == len(decoder)


def test_half_weights_load_back(unet, tmp_path):
    save_weights(unet, tmp_path / "full.weights.h5")
    save_half_weights(unet, tmp_path / "half.weights.h5")
    assert (tmp_path / "half.weights.h5").stat().st_size < 0.65 * (tmp_path / "full.weights.h5").stat().st_size
    again = build_unet("mobilenetv2", (64, 64), encoder_weights=None, decoder_filters=decoder)
    again.load_weights(tmp_path / "half.weights.h5")
    image = rng.integers(0, 255, (50, 70, 3), np.uint8)
    assert np.abs(predict_probability(again, image) - predict_probability(unet, image)).max() < 1e-3
    assert len(list(tmp_path.iterdir())) == 2
