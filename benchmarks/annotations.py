"""What does the check of annotations cost? `python benchmarks/annotations.py BEFORE [AFTER]`, two
checkouts of this project; BEFORE is one from before the check, such as ea46f00^.

The samples' annotations are repeated under new numbers until there are 10,000. Both checkouts open
the file, and prepare pairs from it at 256×256, by turns and each in a new process, which notes its
time (without the start of Python) and the most memory that it held, without that of its imports.
Prints medians and ratios (above 1: more now), and writes benchmarks/results/annotations.csv.
"""
import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from preparation import repeat_coco, samples

root = Path(__file__).resolve().parent.parent
table = Path(__file__).parent / "results/annotations.csv"
child = """
import sys, time
sys.path.append(sys.argv[1])
from claims import Peak, own_memory
from bg_remover.data_prep import open_coco, prepare_pairs
what, source, dest = sys.argv[2:]
start, at_start = time.perf_counter(), own_memory()
with Peak() as peak:
    if what == "open": open_coco(source, "train")
    else: prepare_pairs(source, "train", dest, size=(256, 256))
print(time.perf_counter() - start, peak.most - at_start)
"""


def repeat_until(folder: Path, count: int) -> tuple[int, int]: # photos, annotations
    "Make a COCO folder with so many annotations, or a few more."
    repeat_coco(samples, folder / "some", 100)
    path = "annotations/instances_train2017.json"
    each = len(json.loads((folder / "some" / path).read_text())["annotations"]) / 100
    repeat_coco(samples, folder / "all", -(-count // int(each)))
    content = json.loads((folder / "all" / path).read_text())
    return len(content["images"]), len(content["annotations"])


def measure(what: str, checkout: Path, folder: Path) -> list[float]: # seconds, megabytes
    "One checkout, in a process of its own, into an empty folder."
    environment = {**os.environ, "PYTHONPATH": str(checkout), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", child, Path(__file__).parent, what,
                           folder / "all", tempfile.mkdtemp(dir=folder)],
                          env=environment, cwd=checkout,
                          capture_output=True, text=True)
    if done.returncode: sys.exit(done.stderr)
    return [float(word) for word in done.stdout.split()[-2:]]


def main(before: Path, after: Path, count: int, runs: int):
    "Both checkouts, by turns."
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        photos, annotations = repeat_until(Path(folder), count)
        print(f"{photos} photos, {annotations} annotations")
        for what in ("open", "prepare"):
            found = {before: [], after: []}
            for _ in range(runs):
                for checkout in found: found[checkout].append(measure(what, checkout, Path(folder)))
            for place, unit in enumerate(("seconds", "megabytes")):
                old, new = (statistics.median(one[place] for one in found[checkout])
                            for checkout in (before, after))
                rows.append(dict(what=what, unit=unit, photos=photos, annotations=annotations,
                                 before=round(old, 2), after=round(new, 2),
                                 ratio=round(new / old, 2), runs=runs))
                print(f"{what:8} {unit:10} before {old:7.2f}   after {new:7.2f}   "
                      f"ratio {new / old:.2f}", flush=True)
    with open(table, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout of the code to compare with")
    parser.add_argument("after", type=Path, nargs="?", default=root)
    parser.add_argument("--count", type=int, default=10_000, help="annotations")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    main(options.before.resolve(), options.after.resolve(), options.count, options.runs)
