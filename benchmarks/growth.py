"""Does twice the data take twice as long, and no more memory? `python benchmarks/growth.py [COCO]`,
the samples unless a COCO folder is named.

Four things are done with 1, 2, 4 and 8 times as many photos, each in a process of its own, and
their time and memory noted:

    prepare    `prepare_pairs` at 256×256
    batch      one turn through the pairs with `batches`, augmented, people pasted
    epoch      one epoch of `fit` with a small network at 64×64, photos read and augmented
    remove     a folder of photos through `remove_folder`, one worker, with the network that ships

Time is what the work itself takes, without the start of Python; memory is the most the process held
at any moment (on Linux its anonymous pages, looked at a hundred times a second). Beside each stands
the slope of a line through the points when both axes are logarithms: 1 means that twice the data
take twice as long, 0 that nothing grows. Rows go to benchmarks/results/growth.csv; nbs/base/pairs
draws them.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from claims import Peak, short_floats, write_table
from preparation import link_many, prepare_pairs, repeat_coco, samples

table, times = Path(__file__).parent / "results/growth.csv", (1, 2, 4, 8)
base = dict(prepare=200, batch=200, epoch=200, remove=4) # photos, once


# Each task prepares and returns the work that is measured.

def pairs_in(folder: Path):
    from bg_remover.generator import Pairs
    return Pairs(folder / "frames", folder / "masks")


def prepare(folder: Path):
    from bg_remover.data_prep import prepare_pairs
    return lambda: prepare_pairs(folder / "coco", "train", folder / "prepared")


def batch(folder: Path):
    from bg_remover.generator import augment_pair, batches
    stream = batches(pairs_in(folder / "pairs"), shuffle=True, augment=augment_pair, paste=0.2)
    return lambda: [None for _ in stream]


def epoch(folder: Path):
    import keras
    from bg_remover.generator import augment_pair, batches
    layers = [keras.Input((64, 64, 3)),
              keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
              keras.layers.Conv2D(1, 1, activation="sigmoid")]
    model = keras.Sequential(layers)
    model.compile("adam", "binary_crossentropy")
    pairs = pairs_in(folder / "pairs")
    # the graph is made once, however many photos there are
    model.fit(batches(pairs[:16], (64, 64)), verbose=0)
    return lambda: model.fit(batches(pairs, (64, 64), shuffle=True, augment=augment_pair),
                             shuffle=False, verbose=0)


def remove(folder: Path):
    from bg_remover.tool.folders import remove_folder
    from bg_remover.removal import Remover
    remover = Remover()
    return lambda: [None for _ in remove_folder(folder / "coco/train2017", folder / "cut", remover)]


def measure(task: str, folder: Path): # prints seconds and megabytes
    "One task, in this process."
    work = globals()[task](folder)
    with Peak() as peak:
        begun = time.perf_counter()
        work()
        print(json.dumps([time.perf_counter() - begun, peak.most]))


def in_new_process(task: str, root: Path, pairs, count: int) -> list[float]: # seconds, megabytes
    "Make the input of a task, from a COCO folder or from pairs, and run it elsewhere."
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        if task in ("batch", "epoch"): link_many(pairs, folder / "pairs", count)
        else: repeat_coco(root, folder / "coco", count)
        done = subprocess.run([sys.executable, __file__, "--task", task, "--folder", folder],
                              capture_output=True, text=True)
        if done.returncode: raise RuntimeError(done.stderr[-1000:])
        return json.loads(done.stdout.splitlines()[-1])


def slopes(rows: list[dict]) -> dict[str, tuple[float, float]]: # by task: of time and of memory
    "Slopes of lines through the logarithms."
    found = {}
    for task in base:
        photos, seconds, megabytes = (np.log([row[name] for row in rows if row["task"] == task])
                                      for name in ("photos", "seconds", "megabytes"))
        found[task] = tuple(np.polyfit(photos, values, 1)[0] for values in (seconds, megabytes))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("coco", type=Path, nargs="?", default=samples)
    parser.add_argument("--rounds", type=int, default=3)
    for hidden in ("--task", "--folder"): parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task: return measure(options.task, Path(options.folder))
    found = {(task, base[task] * factor): [] for task in base for factor in times}
    with tempfile.TemporaryDirectory() as work:
        pairs = pairs_in(prepare_pairs(options.coco, "train", Path(work) / "pairs", limit=100))
        for _ in range(options.rounds):
            for (task, count), runs in found.items():
                runs.append(in_new_process(task, options.coco, pairs, count))
    rows = [dict(task=task, photos=count)
            | dict(zip(("seconds", "megabytes"), np.median(runs, axis=0).tolist()))
            for (task, count), runs in found.items()]
    write_table(table, short_floats(rows))
    for row in rows:
        print(f"{row['task']:8}{row['photos']:6} photos {row['seconds']:8.2f} s "
              f"{row['megabytes']:7.0f} MB")
    for task, (seconds, megabytes) in slopes(rows).items():
        print(f"{task:8} slope of time {seconds:.2f}, of memory {megabytes:.2f}")


if __name__ == "__main__":
    main()
