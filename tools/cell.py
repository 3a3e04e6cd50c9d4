"""List, print, replace, add or drop the cells of a notebook by their ids, without JupyterLab.

    python tools/cell.py 02_metrics
        list the cells: id, kind, first line
    python tools/cell.py 02_metrics metrics-30
        print the source of one
    python tools/cell.py 02_metrics metrics-30 --replace FILE
        put the text of FILE in its place; - is standard input
    python tools/cell.py 02_metrics metrics-30 --after NEW-ID FILE [--markdown]
        add a code cell after it, or a text cell
    python tools/cell.py 02_metrics metrics-30 --drop
        remove it

Then `make notebook NAME=02_metrics` runs, stores and exports; `.venv/bin/nbdev-export` only
exports.
"""
import argparse
import json
import re
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent


def new_cell(kind: str, cell_id: str, source: str) -> dict:
    "A cell as nbdev-clean leaves it."
    code = dict(execution_count=None, outputs=[]) if kind == "code" else {}
    return dict(cell_type=kind, id=cell_id, metadata={},
                source=source.rstrip("\n").splitlines(keepends=True), **code)


def place_of(cells: list[dict], cell_id: str) -> int:
    "Where a cell is."
    places = [place for place, cell in enumerate(cells) if cell["id"] == cell_id]
    if not places: sys.exit(f"no cell has the id {cell_id}; without an id, all are listed")
    return places[0]


def change(cells: list[dict], options: argparse.Namespace):
    "Replace, add or drop one cell."
    place = place_of(cells, options.id)
    if options.drop: cells.pop(place)
    if options.replace:
        cells[place] = new_cell(cells[place]["cell_type"], options.id, read_text(options.replace))
    if options.after:
        new_id, file = options.after
        taken = new_id in [cell["id"] for cell in cells]
        if taken or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", new_id):
            sys.exit(f"{new_id}: an id is new in its notebook, and made of letters, digits and "
                     "hyphens")
        kind = "markdown" if options.markdown else "code"
        cells.insert(place + 1, new_cell(kind, new_id, read_text(file)))


def read_text(file: str) -> str:
    return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")


def main(arguments: list[str]):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", help="as in 04_data_prep or tool/photos")
    parser.add_argument("id", nargs="?")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--replace", metavar="FILE")
    what.add_argument("--after", nargs=2, metavar=("NEW-ID", "FILE"))
    what.add_argument("--drop", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args(arguments)
    path = root / f"nbs/{options.notebook.removesuffix('.ipynb')}.ipynb"
    if not path.exists(): sys.exit(f"{path} is not there")
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = notebook["cells"]
    if options.id is None:
        for cell in cells:
            print(f"{cell['id']:32} {cell['cell_type']:8} "
                  f"{''.join(cell['source'])[:80].splitlines()[0] if cell['source'] else ''}")
    elif options.replace or options.after or options.drop:
        change(cells, options)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n",
                        encoding="utf-8", newline="\n")
    else: print("".join(cells[place_of(cells, options.id)]["source"]))


if __name__ == "__main__":
    main(sys.argv[1:])
