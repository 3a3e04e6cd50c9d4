"""The site's page of measurements: what the scripts of benchmarks/ wrote into csv files and
results.json, as tables."""
import ast
import csv
import re
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
benchmarks = root / "benchmarks"
scripts = [path for folder in (benchmarks, root / "recipes") for path in folder.glob("*.py")]
longest = 60 # rows of a table; a longer file is offered for download only
# names of columns and units
more_is_better = re.compile(r"(photos|images)(/s|_per_second)$|"
                            r"^(iou|dice|boundary|boundary_iou|pooled|soft 256|done)$", re.I)
less_is_better = re.compile(r"(^|_|\b)(s|ms|MB|seconds|milliseconds|megabytes|bytes|flicker|"
                            r"alarms?|loss|crash|hang|partial)(_|\b|$)")


def readable(text: str) -> str:
    """A cell of a csv file as a reader wants it: four digits of a number, and nothing that
    Markdown would take for its own."""
    if re.fullmatch(r"-?\d+\.\d+", text):
        return f"{float(text):.4g}" if abs(float(text)) < 1000 else f"{float(text):,.0f}"
    return text.replace("|", "\\|").replace("_", "\\_").replace("*", "\\*")


def table(rows: list[list[str]]) -> str:
    """Rows, the first of which is the head, as a Markdown table; columns of numbers lean to the
    right."""
    numbers = [all(re.fullmatch(r"-?[\d.]*", row[i]) for row in rows[1:])
               for i in range(len(rows[0]))]
    head = [[direction(name) for name in rows[0]],
            ["--:" if number else "---" for number in numbers]]
    return "\n".join(f"| {' | '.join(row)} |"
                     for row in [*head, *[[readable(cell) for cell in row] for row in rows[1:]]])


def about(path: Path) -> str:
    "What the script says it does, in its first sentence; a file's name begins with its script's."
    script = max((script for script in scripts if path.stem.startswith(script.stem)),
                 key=lambda script: len(script.stem))
    first = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))).split("\n\n")[0]
    sentence = re.split(r"(?<=[.:])\s", first)[0]
    return f"{sentence.rstrip('.:')} (`{script.parent.name}/{script.name}`)."


def direction(name: str) -> str:
    "An arrow after the name of a column or a unit: which way is better; nothing where neither is."
    if more_is_better.search(name): return f"{name} ↑"
    return f"{name} ↓" if less_is_better.search(name) else name


def claims_table(claims: dict[str, dict]) -> str:
    "Each claim as a line; its unit stays on one line and says which direction is good."
    lines = ["| claim | ours | baseline | limit | unit | better | ratio | aim | runs |",
             "|---|--:|--:|--:|---|---|--:|--:|--:|"]
    for name, entry in sorted(claims.items()):
        limit, aim = (f"{entry[key]:.4g}" if entry[key] else "" for key in ("limit", "aim"))
        better = "more ↑" if entry["unit"].endswith("/s") else "less ↓"
        unit = entry["unit"].replace("processor s", "CPU s").replace(" ", "\u00a0")
        cells = (name, f"{entry['ours']:.4g}", f"{entry['baseline']:.4g}", limit, unit,
                 better.replace(" ", "\u00a0"), f"{entry['ratio']:.2f}", aim, entry["runs"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


claims_text = """## Against a baseline

Each row compares two ways of doing the same, measured alternately on the same machine: *ours*, \
and a *baseline*, which is what the original tutorial did
unless the row says otherwise. The *limit*, where there is one, is what the machine itself \
allows: decoding the photos and nothing else, for instance. *Better* says whether
more or less of the unit is good; *CPU s* are seconds of processor time, all cores added up. \
A *ratio* above 1 means that ours is better, whatever the unit;
the *aim* is the ratio we had hoped for. All numbers are medians over so many *runs*. `make bench` \
measures everything anew.

{table}

"""


def claims() -> str:
    "What is claimed against a baseline, as claims.py keeps it."
    if str(benchmarks) not in sys.path: sys.path.append(str(benchmarks))
    from claims import read_claims
    if not read_claims(): return ""
    return claims_text.format(table=claims_table(read_claims()))


quality_picture = ("![Each network's mean IoU as a point, with its 95 % interval as a line]"
                   "(images/quality.svg)")


def section(path: Path) -> str:
    "One csv file: what it is, its table or its length, and the file itself."
    with open(path, newline="", encoding="utf-8") as file: rows = list(csv.reader(file))
    columns = ", ".join(f"*{name}*" for name in rows[0])
    shown = table(rows) if len(rows) <= longest else f"{len(rows) - 1:,} rows: {columns}."
    parts = [f"## {path.stem.replace('_', ' ').capitalize()}", about(path), shown,
             f"{{download}}`{path.name} <measured/{path.name}>`\n"]
    if path.stem == "quality": parts.insert(2, quality_picture)
    return "\n\n".join(parts)


opening = """# Measured

> What the scripts in `benchmarks/` measured, as they wrote it down.

Run one, and it prints its table anew. Each script says at its top what its columns mean. ↑ marks \
a column in which more is better, ↓ one in which less is.

"""


def write_measured(pages: Path):
    "The page, and the csv files that it offers."
    (pages / "measured").mkdir()
    # what everybody asks for comes first
    files = sorted((benchmarks / "results").glob("*.csv"),
                   key=lambda path: (not path.stem.startswith("quality"), path.name))
    for path in files: (pages / "measured" / path.name).write_bytes(path.read_bytes())
    text = opening + claims() + "\n".join(section(path) for path in files)
    (pages / "measurements.md").write_text(text, encoding="utf-8")
