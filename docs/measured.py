"""The site's page of measurements: what the scripts of benchmarks/ wrote into csv files and results.json, as tables and a plot."""
import ast
import csv
import re
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
benchmarks = root / "benchmarks"
scripts = [path for folder in (benchmarks, root / "recipes") for path in folder.glob("*.py")]
longest = 60 # rows of a table; a longer file is offered for download only


def readable(text: str) -> str:
    "A cell of a csv file as a reader wants it: four digits of a number, and nothing that Markdown would take for its own."
    if re.fullmatch(r"-?\d+\.\d+", text): return f"{float(text):.4g}" if abs(float(text)) < 1000 else f"{float(text):,.0f}"
    return text.replace("|", "\\|").replace("_", "\\_").replace("*", "\\*")


def table(rows: list[list[str]]) -> str:
    "Rows, the first of which is the head, as a Markdown table; columns of numbers lean to the right."
    numbers = [all(re.fullmatch(r"-?[\d.]*", row[i]) for row in rows[1:]) for i in range(len(rows[0]))]
    head = [rows[0], ["--:" if number else "---" for number in numbers]]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *[[readable(cell) for cell in row] for row in rows[1:]]])


def about(path: Path) -> str:
    "What the script says it does, in its first sentence; a file's name begins with its script's."
    script = max((script for script in scripts if path.stem.startswith(script.stem)), key=lambda script: len(script.stem))
    first = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))).split("\n\n")[0]
    sentence = re.split(r"(?<=[.:])\s", first)[0]
    return f"{sentence.rstrip('.:')} (`{script.parent.name}/{script.name}`)."


def plot_quality(path: Path):
    "Each network's IoU with its interval, as quality.csv has them."
    import matplotlib
    matplotlib.use("agg")
    from matplotlib import pyplot
    with open(benchmarks / "results/quality.csv", newline="", encoding="utf-8") as file: rows = list(csv.DictReader(file))[::-1]
    iou, low, high = ([float(row[name]) for row in rows] for name in ("IoU", "low", "high"))
    figure, axes = pyplot.subplots(figsize=(7, 0.5 * len(rows) + 1), layout="constrained")
    away = [[middle - end for middle, end in zip(iou, low)], [end - middle for middle, end in zip(iou, high)]]
    axes.errorbar(iou, range(len(rows)), xerr=away, fmt="o", capsize=4)
    axes.set(yticks=range(len(rows)), yticklabels=[row["network"] for row in rows], xlabel="mean IoU per photo, with its 95 % interval")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, format="svg")
    pyplot.close(figure)


def claims() -> str:
    "What is claimed against a baseline, as claims.py prints it."
    if str(benchmarks) not in sys.path: sys.path.append(str(benchmarks))
    from claims import read_claims, table as claims_table
    if not read_claims(): return ""
    return f"""## Against a baseline

Each row compares two ways of doing the same, run by turns on the same machine: *ours*, and a *baseline*, which is what the original tutorial did
unless the row says otherwise. The *limit*, where there is one, is what the machine itself allows: decoding the photos and nothing else, for instance. A *ratio*
above 1 means that ours is better; the *aim* is the ratio we had hoped for. All are medians over so many *runs*. `make bench` measures everything anew.

{claims_table()}

"""


def section(path: Path) -> str:
    "One csv file: what it is, its table or its length, and the file itself."
    with open(path, newline="", encoding="utf-8") as file: rows = list(csv.reader(file))
    shown = table(rows) if len(rows) <= longest else f"{len(rows) - 1:,} rows: {', '.join(f'*{name}*' for name in rows[0])}."
    picture = "![Each network's mean IoU as a point, with its 95 % interval as a line](quality.svg)\n\n" if path.stem == "quality" else ""
    return f"## {path.stem.replace('_', ' ').capitalize()}\n\n{about(path)}\n\n{picture}{shown}\n\n{{download}}`{path.name} <measured/{path.name}>`\n"


def write_measured(pages: Path):
    "The page, its plot, and the csv files that it offers."
    (pages / "measured").mkdir()
    files = sorted((benchmarks / "results").glob("*.csv"), key=lambda path: (not path.stem.startswith("quality"), path.name)) # what everybody asks for comes first
    for path in files: (pages / "measured" / path.name).write_bytes(path.read_bytes())
    plot_quality(pages / "quality.svg")
    opening = "# Measured\n\n> What the scripts in `benchmarks/` measured, as they wrote it down.\n\nRun one, and it prints its table anew. Each script says at its top what its columns mean.\n\n"
    (pages / "measurements.md").write_text(opening + claims() + "\n".join(section(path) for path in files), encoding="utf-8")
