"""Is a change of the code as fast as before? `python benchmarks/compare_checkouts.py BEFORE
[AFTER]`, two checkouts of this project.

Both run by turns with the Python that runs this script, each measurement in a new process: the
command on one photo from start to finished file, the command on a folder of twelve, the preparation
of the sample pairs, and the first training step of a small U-Net (from the call of `train` to the
end of an epoch of one step). Prints medians and the ratio before / after (above 1: faster now), and
writes benchmarks/results/compare_checkouts.csv.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from claims import write_table

root = Path(__file__).resolve().parent.parent
samples = root / "nbs/samples/mini_coco"
table = Path(__file__).parent / "results/compare_checkouts.csv"
first_step = """
import sys, time
from pathlib import Path
import numpy as np
from bg_remover.generator import batches
from bg_remover.model import build_unet
from bg_remover.training import train
rng = np.random.default_rng(0)
pairs = [(rng.integers(0, 256, (64, 64, 3), np.uint8), rng.integers(0, 2, (64, 64, 1), np.uint8))
         for _ in range(8)]
model = build_unet("mobilenetv2", (64, 64), None, (16, 16, 16, 16))
start = time.perf_counter()
train(model, batches(pairs, (64, 64), 8), batches(pairs, (64, 64), 8),
      Path(sys.argv[1]) / "run", epochs=1, verbose=0)
print(time.perf_counter() - start)
"""


def run(checkout: Path, arguments: list[str]) -> tuple[float, str]: # seconds, what it prints
    "Run Python with one checkout's package."
    environment = {**os.environ, "PYTHONPATH": str(checkout), "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environment, cwd=checkout,
                          capture_output=True, text=True)
    if done.returncode: sys.exit(done.stderr)
    return time.perf_counter() - start, done.stdout


def measure(what: str, checkout: Path, work: Path) -> float: # seconds
    "One measurement, into an empty folder."
    photo = samples / "val2017/000000343937.jpg"
    commands = {"one photo": ["remove", photo, work / "cutout.png"],
                "a folder of 12 photos": ["remove", work.parent / "photos", work / "out"],
                "24 pairs prepared": ["prepare", samples, work / "pairs"]}
    if what == "first training step": return float(run(checkout, ["-c", first_step, str(work)])[1])
    return run(checkout, ["-m", "bg_remover", *map(str, commands[what])])[0]


def by_turns(measure: Callable, before: Path, after: Path, runs: int) -> list[tuple]:
    "What a function measures of both checkouts: one pair a run."
    return [(measure(before), measure(after)) for _ in range(runs)]


def compare(what: str, unit: str, pairs: list[tuple[float, float]]) -> dict: # columns of a row
    "Print and return the medians and their ratio: above 1, it is less now."
    old, new = (statistics.median(values) for values in zip(*pairs))
    print(f"{what:24} before {old:7.2f}   after {new:7.2f} {unit:10} "
          f"before / after {old / new:.2f}", flush=True)
    return {"before": round(old, 3), "after": round(new, 3),
            "before / after": round(old / new, 2), "runs": len(pairs)}


def checkouts_parser(description: str) -> argparse.ArgumentParser:
    "The arguments of a script that compares two checkouts."
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout of the code to compare with")
    parser.add_argument("after", type=Path, nargs="?", default=root)
    parser.add_argument("--runs", type=int, default=5)
    return parser


def main(before: Path, after: Path, runs: int):
    "All measurements, by turns."
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "photos").mkdir()
        for path in sorted((samples / "val2017").glob("*.jpg"))[:12]:
            shutil.copy(path, Path(folder) / "photos")
        for what in ("one photo", "a folder of 12 photos", "24 pairs prepared",
                     "first training step"):
            def once(checkout: Path) -> float:
                return measure(what, checkout, Path(tempfile.mkdtemp(dir=folder)))
            seconds = by_turns(once, before, after, runs)
            rows.append(dict(what=what) | compare(what, "seconds", seconds))
    write_table(table, rows)


if __name__ == "__main__":
    options = checkouts_parser(__doc__).parse_args()
    main(options.before.resolve(), options.after.resolve(), options.runs)
