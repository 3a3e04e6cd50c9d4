"""Where the scripts of this folder keep what they measured: `results.json`, one entry a claim, and
a table from it. Tables of their own they write with `write_table`.

    python benchmarks/claims.py        prints the table; `make bench` measures anew first

A claim compares two ways of doing the same, measured by turns in one run: ours, and the baseline it
is held against. The limit is what the machine itself allows (decoding alone, say), in the same
unit, where there is one.
"""
import csv
import json
import os
import statistics
import sys
import threading
from pathlib import Path

results = Path(__file__).parent / "results/results.json"


def read_claims() -> dict[str, dict]:
    "All claims by name, as measured last."
    return json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}


def keep_claim(
    # what is compared, in a few words; measured again, it replaces the entry of that name
    name: str,
    ours: list[float], # one value a run
    baseline: list[float], # one value a run
    unit: str, # such as "photos/s" or "s"
    limit: list[float] | None = None, # what the machine allows, one value a run
    less_is_better: bool = False, # True for times and memory
    aim: float | None = None, # the ratio that was hoped for
) -> dict: # the entry, as kept: medians, ratio (above 1: ours is better), number of runs
    "Add the medians of a measurement to results.json, and print them."
    mine, other = statistics.median(ours), statistics.median(baseline)
    entry = dict(ours=mine, baseline=other, ratio=other / mine if less_is_better else mine / other,
                 limit=statistics.median(limit) if limit else None, unit=unit, runs=len(ours),
                 aim=aim)
    part = results.with_suffix(f".{os.getpid()}.part")
    kept = read_claims() | {name: {key: _short(value) for key, value in entry.items()}}
    part.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(results)
    print(table_row(name, entry), flush=True)
    return entry


def short_floats(rows: list[dict]) -> list[dict]: # floats as text
    "Rows of a table as they are kept: floats with four digits."
    return [{name: f"{value:.4g}" if isinstance(value, float) else value
             for name, value in row.items()} for row in rows]


def write_table(path: Path, rows: list[dict]): # the first row names the columns
    "Keep a table of what was measured."
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def own_memory() -> float: # megabytes
    """What this process holds itself: not what Linux keeps of files it has read. Where that is
    not told, all it holds at most."""
    try: lines = Path("/proc/self/status").read_text()
    except OSError:
        import resource
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (1e6 if sys.platform == "darwin" else 1e3)
    return int(lines.split("RssAnon:")[1].split()[0]) / 1e3


class Peak:
    "The most memory that this process holds while a block runs: `most`, in megabytes."
    def __enter__(self):
        self.most, self.done = own_memory(), threading.Event()
        self.watch = threading.Thread(target=self.look, daemon=True)
        self.watch.start()
        return self

    def look(self):
        while not self.done.wait(0.01): self.most = max(self.most, own_memory())

    def __exit__(self, *_):
        self.done.set()
        self.watch.join()


def _short(value):
    "Four digits are more than the noise leaves."
    return float(f"{value:.4g}") if isinstance(value, float) else value


def table_row(name: str, entry: dict) -> str:
    "One claim as a line of the table."
    limit, aim = (f"{entry[key]:.4g}" if entry[key] else "" for key in ("limit", "aim"))
    cells = (name, f"{entry['ours']:.4g}", f"{entry['baseline']:.4g}", limit, entry["unit"],
             f"{entry['ratio']:.2f}", aim, entry["runs"])
    return f"| {' | '.join(map(str, cells))} |"


def table() -> str:
    "All claims as a Markdown table."
    head = ["| claim | ours | baseline | limit | unit | ratio | aim | runs |",
            "|---|--:|--:|--:|---|--:|--:|--:|"]
    return "\n".join(head + [table_row(*claim) for claim in sorted(read_claims().items())])


if __name__ == "__main__":
    print(table())
