"""Devices and processes that train together end where one alone does; one that dies costs no
more than its epoch."""
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from bg_remover.base.runs import RunError, read_history
from train_together import run, tiny_net

script = Path(__file__).with_name("train_together.py")


def start(folder: Path, *arguments: str, **environment) -> subprocess.Popen:
    "A process that trains; what it says goes to a file."
    log = folder / f"{'-'.join(arguments[1:3])}.log"
    with open(log, "w") as file:
        process = subprocess.Popen([sys.executable, script, folder, *arguments],
                                   env=os.environ | environment, stdout=file, stderr=file)
    process.log = log
    return process


def start_two(folder: Path, *runs: str) -> list[subprocess.Popen]:
    "Two workers on this machine, as on two hosts."
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    return [start(folder, address, str(number), *runs, KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
            for number in range(2)]


def finish(process: subprocess.Popen):
    assert process.wait(120) == 0, process.log.read_text()[-3000:]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    "One process, one device."
    return run(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the others found: two devices of one process; two processes, one of which dies,
    started again."""
    folder, results = tmp_path_factory.mktemp("together"), {}
    first, second = start_two(folder, "killed")
    try:
        results["killed"] = second.wait(120)
        (folder / "mirrored").mkdir()
        finish(start(folder / "mirrored")) # meanwhile the other worker finds out
        results["other"] = first.wait(60)
    finally: first.kill()
    results["left"] = read_history(folder / "run/history.csv")
    for process in start_two(folder, "resumed", "apart"): finish(process)
    results["mirrored"] = json.loads((folder / "mirrored/mirrored.json").read_text())
    results["workers"] = [json.loads((folder / f"worker-{number}.json").read_text())
                          for number in range(2)]
    results["files"] = sorted(str(path.relative_to(folder)) for part in ("run", "elsewhere")
                              for path in (folder / part).glob("*"))
    return results


def assert_same(run: dict, alone: dict):
    "Numbers, epoch by epoch, and weights of one process that nothing interrupted."
    assert [row["epoch"] for row in run["history"]] == [row["epoch"]
                                                        for row in alone["history"]] == [1, 2, 3]
    for row, expected in zip(run["history"], alone["history"]):
        assert row == pytest.approx(expected, abs=1e-3)
    for weight, expected in zip(run["weights"], alone["weights"]):
        np.testing.assert_allclose(weight, expected, atol=1e-3)


def test_there_is_something_to_learn(alone):
    assert len(alone["losses"]) == 3 * 5 and max(alone["losses"]) - min(alone["losses"]) > 0.1


def test_two_devices_train_as_one_and_go_on_where_they_were(alone, found):
    first, resumed = found["mirrored"]["first"], found["mirrored"]["resumed"]
    assert len(first["history"]) == 1
    assert first["losses"] + resumed["losses"] == pytest.approx(alone["losses"], abs=1e-3)
    assert_same(resumed, alone)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_a_killed_worker_ends_the_other_and_the_run_goes_on_from_the_last_epoch(alone, found):
    # it does not wait for ever
    assert found["killed"] == -signal.SIGKILL and found["other"] not in (0, None)
    assert [row["epoch"] for row in found["left"]] == [1]
    for worker in found["workers"]: assert_same(worker["resumed"], alone)


def test_two_processes_take_the_steps_of_one_and_end_alike(alone, found):
    one, other = (worker["resumed"] for worker in found["workers"])
    # the ten steps that were missing
    assert one["losses"] == pytest.approx(alone["losses"][5:],
                                          abs=1e-3) and one["losses"] == other["losses"]
    assert one["weights"] == other["weights"]
    # each reads its share, of two epochs of three
    assert one["read"] + other["read"] < alone["read"]


def test_one_worker_writes_the_run_folder(found):
    assert found["files"] == [f"run/{name}"
                              for name in ("best.weights.h5", "history.csv", "last-3.weights.h5",
                                           "settings.json")]


def test_workers_that_do_not_share_the_folder_are_told(found):
    for worker in found["workers"]: assert "[3, 0] complete epochs" in worker["apart"]["error"]


def test_batches_that_cannot_be_shared_evenly_are_refused(found):
    assert "2 devices cannot share a batch of 3 evenly" in found["mirrored"]["odd"]["error"]


def test_a_model_from_outside_the_scope_is_refused(tmp_path):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with pytest.raises(RunError, match="strategy.scope"): run(tmp_path / "given", strategy=strategy)
    with strategy.scope(): net = tiny_net()
    with pytest.raises(RunError, match="give the same strategy"):
        run(tmp_path / "forgotten", net=net)
    assert not list(tmp_path.iterdir())


def test_the_strategy_that_keras_cannot_use_is_refused(tmp_path):
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope(): net = tiny_net()
    with pytest.raises(RunError, match="keras.distribution.DataParallel"):
        run(tmp_path, net=net, strategy=strategy)
