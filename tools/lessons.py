"""How large each lesson is, and how much of its exported code teaches: `python tools/lessons.py`
prints the table.

A line teaches if a learner would have to write it to solve the lesson's task. A cell whose code
only keeps the lesson safe (checks of input, error types, files) opens with the comment `#
machinery`, and its lines do not count as teaching.
"""
import ast
import json
import re
from pathlib import Path

from house import lesson_notebooks

most_cells, most_words, longest_line, least_teaching = 45, 1800, 100, 2 / 3


def cells_of(path: Path) -> list[tuple[str, str, list]]: # kind, source, outputs
    "The cells of a notebook."
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"]), cell.get("outputs", [])) for cell in cells]


def is_exported(source: str) -> bool: return bool(re.search(r"^#\|\s*export", source, re.M))


def code_lines(source: str) -> list[str]:
    "The lines that a reader has to read: neither blank, nor a directive, nor a comment alone."
    return [line for line in source.splitlines() if line.strip()
            and not line.lstrip().startswith("#")]


def only_imports(source: str) -> bool:
    "Whether a cell holds imports and nothing else."
    body = ast.parse(re.sub(r"^\s*[%!].*$", "", source, flags=re.M)).body
    return all(isinstance(node, (ast.Import, ast.ImportFrom, ast.Try)) for node in body)


def measure(path: Path) -> dict:
    "The figures of one lesson."
    cells = cells_of(path)
    exported = [source for kind, source, _ in cells if kind == "code" and is_exported(source)
                and not only_imports(source)]
    machinery = sum(len(code_lines(source)) for source in exported if "\n# machinery" in source)
    lines = sum(len(code_lines(source)) for source in exported)
    pictures = [output for *_, outputs in cells for output in outputs
                if {"image/png", "image/jpeg"} & set(output.get("data", {}))]
    return dict(
        cells=len(cells), pictures=len(pictures),
        words=sum(len(source.split()) for kind, source, _ in cells if kind == "markdown"),
        teaching=(lines - machinery) / lines if lines else 1.0,
        longest_line=max(len(line) for kind, source, _ in cells if kind == "code"
                         for line in source.splitlines()))


def main():
    print("| lesson | cells | words | pictures | exported lines that teach | longest line |")
    print("|---|--:|--:|--:|--:|--:|")
    for path in lesson_notebooks():
        row = measure(path)
        print(f"| {path.stem} | {row['cells']} | {row['words']:,} | {row['pictures']} | "
              f"{row['teaching']:.0%} | {row['longest_line']} |")


if __name__ == "__main__":
    main()
