"""What test_strategy trains in processes of their own: `python train_together.py FOLDER` on two
devices, `… FOLDER ADDRESS NUMBER RUN ...` as one of two workers."""
import itertools
import json
import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from bg_remover.generator import batches
from bg_remover.base.backbones import BatchNormalization
from bg_remover.training import photo_jaccard_loss, train

size, batch_size, epochs = (16, 16), 4, 3


class Counted(list):
    "A list that counts what is read from it."
    read = 0

    def __getitem__(self, index):
        self.read += 1
        return super().__getitem__(index)


def bright_squares(count: int) -> Counted:
    "Pairs of a bright square somewhere on noise."
    rng, pairs = np.random.default_rng(0), Counted()
    for _ in range(count):
        mask = np.zeros((*size, 1), np.uint8)
        top, left = rng.integers(0, 10, 2)
        mask[top:top + 7, left:left + 7] = 1
        pairs.append((rng.integers(0, 120, (*size, 3), np.uint8) + 100 * mask, mask))
    return pairs


def tiny_net() -> keras.Model:
    "Frozen batch normalisation; the same weights on every backend."
    keras.utils.set_random_seed(0) # all workers have to begin alike
    normalize = BatchNormalization(trainable=False)
    net = keras.Sequential([keras.Input((*size, 3)), keras.layers.Rescaling(1 / 255),
                            keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
                            normalize,
                            keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")],
                           name="tiny")
    rng = np.random.default_rng(1)
    net.set_weights([abs(rng.normal(0, 0.3, weight.shape)) if "variance" in weight.path
                     else rng.normal(0, 0.3, weight.shape) for weight in net.weights])
    return net


def run(run_dir: Path, epochs: int = epochs, net: keras.Model | None = None, strategy=None,
        count: int = 20, **settings) -> dict:
    """Train the net on the squares: the loss of each step, the history, the weights at the end,
    how many squares were read."""
    losses, pairs = [], bright_squares(count)
    net = net or tiny_net()
    follow = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step,
                                            logs: losses.append(float(logs["loss"])))
    settings = dict(learning_rate=1e-2, loss=photo_jaccard_loss, more_callbacks=[follow]) | settings
    history = train(net, batches(pairs, size, batch_size, shuffle=True, seed=5),
                    batches(pairs[:6], size, 2), run_dir, epochs, strategy=strategy, verbose=0,
                    **settings)
    return dict(losses=losses, history=history, read=pairs.read,
                weights=[np.asarray(weight).tolist() for weight in net.get_weights()])


def attempt(strategy, run_dir: Path, **settings) -> dict:
    "A run of a new net in the scope of a strategy; or the mistake it stopped at."
    with strategy.scope(): net = tiny_net()
    try: return run(run_dir, net=net, strategy=strategy, **settings)
    except ValueError as error: return dict(error=str(error))


def mirrored(folder: Path) -> dict:
    "Two devices that one processor plays."
    import tensorflow as tf
    processor, = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(processor,
                                               [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    return dict(first=attempt(strategy, folder / "run", epochs=1),
                resumed=attempt(strategy, folder / "run"),
                odd=attempt(strategy, folder / "odd", count=19))


def workers(folder: Path, address: str, number: int, *names: str):
    "One of two processes; each name is a run that both take part in."
    import jax
    jax.distributed.initialize(address, 2, number, heartbeat_timeout_seconds=10)
    strategy, found = keras.distribution.DataParallel(), {}
    steps = itertools.count()
    def die(step, logs):
        # in the second epoch
        if number == 1 and next(steps) == 7: os.kill(os.getpid(), signal.SIGKILL)
    killer = keras.callbacks.LambdaCallback(on_train_batch_end=die)
    for name in names:
        where = folder / ("elsewhere" if name == "apart" and number else "run")
        settings = dict(more_callbacks=[killer]) if name == "killed" else {}
        found[name] = attempt(strategy, where, **settings)
        (folder / f"worker-{number}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    folder, *rest = sys.argv[1:]
    if rest: workers(Path(folder), rest[0], int(rest[1]), *rest[2:])
    else: (Path(folder) / "mirrored.json").write_text(json.dumps(mirrored(Path(folder))))
