"""Seconds until the first training step is through, ours and the original tutorial's, and where
they go.

    python benchmarks/first_step.py

Writes results/first_step.csv and adds to results.json; some three minutes on two quiet cores.

The original: `sm.Unet`, compiled with Keras' Adam and segmentation-models' loss and metric, `fit`.
Ours: `build_unet` and `train`, from the call on, its run folder included. Same weights to start
with, same batches (of 16, 256 × 256, from the samples), each in a new process, by turns; medians.
The losses of the first steps have to agree, or the script stops. The stages are measured in Python,
around the calls of the network, of the gradient and of the optimizer while the step is traced; what
is left of the first step without them and without a usual step (the median of the later ones) is
TensorFlow rewriting the graph, and what is made once (kernels, memory). Seconds are processor
seconds, which other work on the machine changes little: tracing keeps one core busy, a step all of
them. Seconds on the clock are printed too.

Lost ideas. Grappler switched off: another 0.5 s of processor time with ResNet-34, but a global
setting that other graphs would miss. The powers of Adam's betas computed with each variable, as
Keras does: 0.6 s more for the 182 variables of MobileNetV2's U-Net. An allocator that keeps its
memory (TensorFlow sets glibc's trim threshold to 128 KB when the first Python generator feeds it):
a step's page faults fall from 10,600 to 500, but here they cost 0.05 of 2.4 s.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from claims import keep_claim, write_table

root = Path(__file__).resolve().parent.parent
results = Path(__file__).parent / "results/first_step.csv"
# the original's, and the shipped one's with a decoder both ways know
networks = {"resnet34": (256, 128, 64, 32, 16), "mobilenetv2": (64, 48, 32, 24, 16)}
size, batch_size, steps = (256, 256), 16, 3
stages = ("the optimizer's state", "tracing the network", "tracing the gradient",
          "tracing the update", "rewriting the graph and the rest", "the step itself")


class Clock:
    "Sums the seconds spent in some functions, each without the others inside it."
    def __init__(self): self.spent, self.running = dict.fromkeys(stages, 0.0), []

    def around(self, stage: str, owner, name: str):
        "Have the seconds of a function or method counted for a stage from now on."
        function = getattr(owner, name)
        def timed(*values, **named):
            begun = time.process_time()
            self.running.append(0.0)
            try: return function(*values, **named)
            finally:
                took, inside = time.process_time() - begun, self.running.pop()
                self.spent[stage] += took - inside
                if self.running: self.running[-1] += took
        setattr(owner, name, timed)


def sample_batches():
    "Batches of sample photos, the same each time."
    from bg_remover.data_prep import prepare_pairs
    from bg_remover.generator import Pairs, batches
    folder = prepare_pairs(root / "nbs/samples/mini_coco", "train", root / "nbs/_work/first_step",
                           size=None)
    return batches(Pairs(folder / "frames", folder / "masks"), size, batch_size, shuffle=True,
                   steps=steps)


def network(way: str, backbone: str):
    "The same network both ways; pixels on the same scale."
    import keras
    from bg_remover.base.backbones import BACKBONES, segmentation_models
    from bg_remover.model import build_unet
    if way == "ours": return build_unet(backbone, size, None, networks[backbone])
    unet = segmentation_models().Unet(backbone, (*size, 3), encoder_weights=None,
                                      decoder_filters=networks[backbone])
    image = keras.Input((*size, 3))
    return keras.Model(image, unet(BACKBONES[backbone].preprocess(image)))


def fit(way: str, net, stream, follow):
    "One epoch, as either of the two trains."
    import keras
    from bg_remover.base.backbones import segmentation_models
    from bg_remover.training import train
    if way == "ours":
        with tempfile.TemporaryDirectory() as run_dir:
            train(net, stream, stream, run_dir, epochs=1, verbose=0, more_callbacks=[follow])
        return
    sm = segmentation_models()
    net.compile(keras.optimizers.Adam(1e-4), loss=sm.losses.bce_jaccard_loss,
                metrics=[sm.metrics.iou_score])
    net.fit(stream, epochs=1, shuffle=False, callbacks=[follow], verbose=0)


def watched_clock() -> Clock:
    "A clock around the stages of the first step that are Python."
    import keras
    import tensorflow as tf
    clock = Clock()
    for stage, owner, name in ((0, keras.optimizers.Adam, "build"), (1, keras.Model, "__call__"),
                               (2, tf.GradientTape, "gradient"),
                               (3, keras.optimizers.Adam, "apply")):
        clock.around(stages[stage], owner, name)
    return clock


def measure(way: str, backbone: str) -> dict: # losses; seconds of each step; seconds by stage
    "One training of a few steps in this process, which must be new."
    import keras
    from bg_remover.base.backbones import segmentation_models
    keras.utils.set_random_seed(0)
    segmentation_models().set_framework("tf.keras")
    net, stream = network(way, backbone), sample_batches()
    clock, ends, losses = watched_clock(), [], []
    def note(step, logs):
        ends.append((time.process_time(), time.perf_counter()))
        losses.append(float(logs["loss"]))
        if step == 0: first.update(clock.spent)
    first, follow = {}, keras.callbacks.LambdaCallback(on_train_batch_end=note)
    ends.append((time.process_time(), time.perf_counter()))
    fit(way, net, stream, follow)
    seconds, on_the_clock = np.diff(ends, axis=0).T.tolist()
    first[stages[5]] = statistics.median(seconds[1:])
    first[stages[4]] = seconds[0] - sum(first.values())
    return dict(losses=losses, seconds=seconds, on_the_clock=on_the_clock, stages=first)


def in_new_process(way: str, backbone: str) -> dict: # as `measure` gives it
    "One training of a few steps in a process of its own."
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    line = [sys.executable, __file__, "--one", way, backbone]
    return json.loads(subprocess.run(line, env=environment, check=True, capture_output=True,
                                     text=True).stdout.splitlines()[-1])


def compare(backbone: str, runs: int) -> list[dict]: # rows of the csv
    "Both ways by turns; keeps two claims."
    found = {way: [] for way in ("original", "ours")}
    for _ in range(runs):
        for way in found: found[way].append(in_new_process(way, backbone))
    np.testing.assert_allclose(found["ours"][0]["losses"], found["original"][0]["losses"],
                               rtol=1e-3)
    times, clock = ({way: np.array([run[which] for run in each]) for way, each in found.items()}
                    for which in ("seconds", "on_the_clock"))
    for way in found:
        print(f"{backbone}, {way}: on the clock {np.median(clock[way][:, 0]):.1f} s to the end of "
              f"the first step, {np.median(clock[way][:, 1:]):.2f} s for a later one", flush=True)
    shape = f"{backbone}, {size[0]}², batch {batch_size}"
    keep_claim(f"to the end of the first training step ({shape})",
               *(times[way][:, 0].tolist() for way in ("ours", "original")), unit="processor s",
               limit=[run["stages"][stages[5]] for run in found["ours"]], less_is_better=True)
    keep_claim(f"a later training step ({shape})",
               *(np.median(times[way][:, 1:], axis=1).tolist() for way in ("ours", "original")),
               unit="processor s", less_is_better=True)
    return [dict(network=backbone, way=way, stage=stage,
                 seconds=f"{statistics.median(run['stages'][stage] for run in each):.2f}")
            for way, each in found.items() for stage in stages]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("WAY", "BACKBONE"),
                        help="measure once in this process, and print json")
    options = parser.parse_args()
    if options.one: print(json.dumps(measure(*options.one)))
    else:
        rows = [row for backbone in networks for row in compare(backbone, options.runs)]
        write_table(results, rows)
