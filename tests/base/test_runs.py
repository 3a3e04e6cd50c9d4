"""A run folder: interruption and resume, folders of other settings, damaged files, a loss that
is not a number."""
import functools
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from bg_remover.base.runs import RunError, open_run, read_history, run_note, save_weights
from bg_remover.generator import Pairs, augment_pair, batches, view_steps
from bg_remover.training import WholeSetIoU, photo_jaccard_loss, train
from tiny_training import pairs, tiny_net, tiny_run


killer = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import tiny_training as test
from bg_remover.generator import Pairs, batches
from bg_remover.training import train
folder, run_dir, reads = Path({folder!r}), Path({run_dir!r}), 0
class Deadly(Pairs):
    def __getitem__(self, index):
        global reads
        reads += stream.epoch == 1
        if reads > {allowed}: os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)
pairs, deadly = (kind(folder / "frames", folder / "masks") for kind in (Pairs, Deadly))
stream = batches(deadly, (32, 32), batch_size=4, shuffle=True, seed=5)
train(test.tiny_net(), stream, batches(pairs, (32, 32), batch_size=4), run_dir, 3,
      learning_rate=1e-2, verbose=0)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
@pytest.mark.parametrize("allowed", [0, 6], ids=["between epochs", "inside epoch 2"])
def test_killed_run_goes_on_as_if_unbroken(pairs, tmp_path, allowed):
    code = killer.format(tests=str(Path(__file__).parents[1]), folder=str(pairs),
                         run_dir=str(tmp_path / "killed"), allowed=allowed)
    assert subprocess.run([sys.executable, "-c", code],
                          capture_output=True).returncode == -signal.SIGKILL
    assert [row["epoch"] for row in read_history(tmp_path / "killed/history.csv")] == [1]
    unbroken, expected = tiny_run(pairs, tmp_path / "unbroken", 3)
    resumed, history = tiny_run(pairs, tmp_path / "killed", 3)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    for row, other in zip(history, expected): assert row == pytest.approx(other, abs=1e-5)
    assert int(resumed.optimizer.iterations) == int(unbroken.optimizer.iterations) == 3 * 3
    assert float(resumed.optimizer.learning_rate) == float(unbroken.optimizer.learning_rate)
    for one, other in zip(resumed.get_weights(), unbroken.get_weights()):
        np.testing.assert_allclose(one, other, atol=1e-5)


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
    for epochs in (1, 3):
        _, broken = tiny_run(pairs, tmp_path / "broken", epochs, learning_rate=schedule)
    rates = [row["learning_rate"] for row in broken]
    assert rates == [row["learning_rate"] for row in unbroken] and rates[0] > rates[1] > rates[2]


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
        train(tiny_net(), batches(some, (32, 32), batch_size=4, shuffle=True, seed=5),
              batches(some, (32, 32)), tmp_path, 2, learning_rate=1e-2)


def test_other_photos_and_other_augmentation_are_refused(pairs, tmp_path):
    data = Pairs(pairs / "frames", pairs / "masks", count=4)
    def begin(photos=data, augment=augment_pair, **how):
        stream = batches(photos, (32, 32), batch_size=4, augment=augment, **how)
        return open_run(tmp_path, tiny_net(), stream, 1e-2, photo_jaccard_loss)
    begin()
    others = Pairs(pairs / "frames", pairs / "masks", start=4, count=4)
    views = functools.partial(augment_pair, steps=view_steps)
    for other, name in ((dict(photos=others), "photos"), (dict(paste=0.5), "paste"),
                        (dict(augment=None), "augment"), (dict(augment=views), "augment")):
        with pytest.raises(RunError, match=f"other settings .{name} was "): begin(**other)
    shutil.copytree(pairs, tmp_path / "moved")
    begin(Pairs(tmp_path / "moved/frames", tmp_path / "moved/masks", count=4))


def test_a_damaged_note_of_a_run_is_named(tmp_path):
    for text in (b"{", b"[]", b"\xff"):
        (tmp_path / "pairs.json").write_bytes(text)
        with pytest.raises(RunError, match="pairs.json: damaged; restore"):
            run_note(tmp_path, "pairs.json")


def test_left_over_weights_of_a_killed_run_are_removed(pairs, tmp_path):
    (tmp_path / ".0123.weights.h5").write_bytes(b"half")
    tiny_run(pairs, tmp_path, 1)
    assert not list(tmp_path.glob(".*"))


def test_damaged_history_is_named(tmp_path):
    (tmp_path / "history.csv").write_text("epoch,loss\n1,0.5\n2")
    with pytest.raises(ValueError, match="history.csv"): read_history(tmp_path / "history.csv")


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


# Folders of other days

def test_a_run_begun_before_the_renames_goes_on_with_the_metric_it_watched(pairs, tmp_path):
    tiny_run(pairs, tmp_path, 1)
    path = tmp_path / "settings.json"
    settings = json.loads(path.read_text())
    del settings["metric"]
    settings["encoder_share"] = settings.pop("encoder_lr_scale")
    for name in ("photos", "augment", "paste", "batch_image_size", "made_by"): del settings[name]
    path.write_text(json.dumps(settings))
    net, history = tiny_run(pairs, tmp_path, 2)
    assert [row["epoch"] for row in history] == [1, 2]
    assert isinstance(net.metrics[1].metrics[0], WholeSetIoU)
    val = batches(Pairs(pairs / "frames", pairs / "masks"), (32, 32), batch_size=10)
    frames, masks = val[0]
    found, person = np.asarray(net.predict_on_batch(frames)) >= 0.5, masks == 1
    iou = (found & person).sum() / (found | person).sum()
    assert history[1]["val_iou"] == pytest.approx(iou, abs=1e-4)
    with pytest.raises(RunError, match="encoder_share was 1.0, now 0.5"):
        tiny_run(pairs, tmp_path, 2, encoder_lr_scale=0.5)


def test_a_new_run_watches_the_mean_over_photos(pairs, tmp_path):
    net, history = tiny_run(pairs, tmp_path, 1)
    assert type(net.metrics[1].metrics[0]).__name__ == "PhotoIoU"


# A loss that is not a number

def test_nan_stops_a_run_and_names_epoch_weights_and_what_to_try(pairs, tmp_path):
    # from the second epoch on
    too_fast = keras.optimizers.schedules.PiecewiseConstantDecay([3], [1e-2, 3e38])
    with pytest.raises(RunError, match="epoch 2 in batch") as error:
        tiny_run(pairs, tmp_path, 5, learning_rate=too_fast)
    for part in (str(tmp_path), "last-1.weights.h5", "learning rate ten times smaller",
                 "new run folder"):
        assert part in str(error.value)
    assert [row["epoch"] for row in read_history(tmp_path / "history.csv")] == [1]
    good = tiny_net()
    good.compile("adam")
    good.load_weights(tmp_path / "best.weights.h5", skip_mismatch=True)
    assert all(np.isfinite(weight).all() for weight in good.get_weights())


def test_a_validation_loss_that_is_not_a_number_saves_nothing_either(pairs, tmp_path):
    def loss(truth, probability):
        three = keras.ops.shape(truth)[0] == 3
        return keras.ops.mean((probability - truth) ** 2) + keras.ops.where(three, np.nan, 0.0)
    data = Pairs(pairs / "frames", pairs / "masks", count=4)
    odd = Pairs(pairs / "frames", pairs / "masks", count=3)
    with pytest.raises(RunError, match=r"epoch 1 \(val_loss\); there are no good weights yet"):
        train(tiny_net(), batches(data, (32, 32), 4), batches(odd, (32, 32), 3), tmp_path, 2,
              loss=loss, verbose=0)
    assert {path.name for path in tmp_path.iterdir()} == {"settings.json"}
