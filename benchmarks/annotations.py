"""What does the check of annotations cost? `python benchmarks/annotations.py BEFORE [AFTER]`, two
checkouts of this project; BEFORE is one from before the check, such as ea46f00^.

The samples' annotations are repeated under new numbers until there are 10,000. Both checkouts open
the file, and prepare pairs from it at 256×256, by turns and each in a new process, which notes its
time (without the start of Python) and the most memory that it held, without that of its imports.
Prints medians and the ratio before / after (above 1: less now), and writes
benchmarks/results/annotations.csv.
"""
import json
import tempfile
from pathlib import Path

from claims import write_table
from compare_checkouts import by_turns, checkouts_parser, compare, run
from preparation import repeat_coco, samples

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
    places = Path(__file__).parent, what, folder / "all", tempfile.mkdtemp(dir=folder)
    return [float(word) for word in run(checkout, ["-c", child, *places])[1].split()[-2:]]


def main(before: Path, after: Path, count: int, runs: int):
    "Both checkouts, by turns."
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        photos, annotations = repeat_until(Path(folder), count)
        print(f"{photos} photos, {annotations} annotations")
        for what in ("open", "prepare"):
            found = by_turns(lambda checkout: measure(what, checkout, Path(folder)), before, after,
                             runs)
            for place, unit in enumerate(("seconds", "megabytes")):
                pairs = [(old[place], new[place]) for old, new in found]
                rows.append(dict(what=what, unit=unit, photos=photos, annotations=annotations)
                            | compare(what, unit, pairs))
    write_table(table, rows)


if __name__ == "__main__":
    parser = checkouts_parser(__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="annotations")
    options = parser.parse_args()
    main(options.before.resolve(), options.after.resolve(), options.count, options.runs)
