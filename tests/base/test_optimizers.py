"""Adam in one operation against Keras' own, the encoder's smaller steps, the schedule."""
import keras
import numpy as np
import pytest
import tensorflow as tf

from bg_remover.base.backbones import encoder_layers
from bg_remover.base.optimizers import EncoderRate, adam_for, warm_cosine
from bg_remover.generator import Pairs, batches
from bg_remover.training import train
from tiny_training import pairs, tiny_net, unet

rng = np.random.default_rng(0)


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_fused_updates_are_those_of_keras(decay):
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 6)
    start = [rng.normal(size=shape).astype("float32") for shape in ((3, 3, 2, 4), (4,), ())]
    ours = EncoderRate(schedule, decay=decay)
    theirs = keras.optimizers.Adam(schedule, weight_decay=decay or None)
    ends = []
    for optimizer in (ours, theirs):
        variables = [keras.Variable(value) for value in start]
        for step in range(5):
            optimizer.apply([keras.ops.sin((step + 1) * variable.value) for variable in variables],
                            variables)
        ends.append([*variables, *optimizer.variables])
    # with the iterations: the state that a run folder keeps
    assert len(ends[0]) == len(ends[1]) == 3 * 3 + 1
    # a step is 0.1
    for one, other in zip(*ends):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-4, atol=1e-5)


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
    train(net, batches(with_batches, (32, 32), batch_size=4),
          batches(with_batches, (32, 32), batch_size=4), tmp_path, 2, verbose=0)
    assert len(traced) == 1
    @tf.function
    def update():
        net.optimizer.apply([keras.ops.ones_like(weight) for weight in net.trainable_variables])
    graph = update.get_concrete_function().graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert kinds.count("ResourceApplyAdam") == len(net.trainable_variables) and "Sqrt" not in kinds


def test_encoder_takes_its_share_of_each_step():
    slow, fast = (keras.Variable(np.ones(3, np.float32), name=name) for name in ("slow", "fast"))
    optimizer = EncoderRate(0.01, frozenset({slow.path}), scale=0.1)
    for _ in range(3): optimizer.apply([keras.ops.ones(3), keras.ops.ones(3)], [slow, fast])
    assert np.asarray(fast) == pytest.approx(1 - 3 * 0.01, abs=1e-5)
    assert np.asarray(slow) == pytest.approx(1 - 3 * 0.001, abs=1e-5)


def test_only_the_encoder_of_a_unet_is_slowed(unet, pairs, tmp_path):
    data = Pairs(pairs / "frames", pairs / "masks", count=2)
    net = keras.models.clone_model(unet)
    net.set_weights(unet.get_weights())
    train(net, batches(data, (64, 64), 2), batches(data, (64, 64)), tmp_path, 1, learning_rate=1e-2,
          encoder_lr_scale=0.0, verbose=0)
    moved = {weight.path for weight, before in zip(net.trainable_weights, unet.trainable_weights)
             if np.abs(np.asarray(weight) - np.asarray(before)).max() > 0}
    encoder = {weight.path for layer in encoder_layers(net.get_layer("unet"))
               for weight in layer.trainable_weights}
    assert encoder and moved == {weight.path for weight in net.trainable_weights} - encoder


def test_warm_cosine_climbs_and_falls():
    rate = warm_cosine(1e-2, 200)
    values = [float(rate(step)) for step in range(201)]
    assert values[0] == 0 and values[5] == pytest.approx(5e-3)
    assert values[10] == max(values) == pytest.approx(1e-2)
    assert values[10:] == sorted(values[10:], reverse=True) and values[-1] == pytest.approx(2e-4)
    assert values[105] == pytest.approx((1e-2 + 2e-4) / 2, rel=0.01) # half way down the cosine


def test_a_trained_model_is_saved_whole_and_loaded_by_keras_alone(unet, pairs, tmp_path):
    data = Pairs(pairs / "frames", pairs / "masks", count=2)
    net = keras.models.clone_model(unet)
    train(net, batches(data, (64, 64), 2), batches(data, (64, 64)), tmp_path / "run", 1,
          learning_rate=warm_cosine(1e-2, 20), weight_decay=0.01,
          encoder_lr_scale=0.1, verbose=0)
    net.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    assert (again.optimizer.slow, again.optimizer.scale,
            again.optimizer.decay) == (net.optimizer.slow, 0.1, 0.01) and net.optimizer.slow
    frames, masks = batches(data, (64, 64), 2)[0]
    ends = []
    for one in (net, again):
        one.fit(frames, masks, verbose=0)
        ends.append(one.get_weights())
    for one, other in zip(*ends): np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_optimizer_is_made_again_from_its_settings():
    optimizer = EncoderRate(warm_cosine(1e-3, 40), frozenset({"b", "a"}), 0.3, 0.02)
    config = optimizer.get_config()
    again = EncoderRate.from_config(dict(config)) # Keras changes what it is given
    assert again.get_config() == config and again.slow == {"a", "b"} and again.name == "adam"


def test_any_model_can_be_trained_where_the_encoder_is_not_slowed():
    assert adam_for(tiny_net(), 1e-3).slow == frozenset()
