"""Each notebook reads as the house agreed, and runs from top to bottom: alone, offline, its
file untouched."""
import ast
import json
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

import house
from lessons import least_teaching, longest_line, measure, most_cells, most_words
from notebook_server import ask, environment, execute

paths, lessons, solutions = house.notebooks(), house.lesson_notebooks(), house.solutions()
root = house.root
name_of = lambda path: path.relative_to(root / "nbs").with_suffix("").as_posix().replace("/", "-")


def cells_of(path: Path, kind: str) -> list[dict]:
    "The cells of one kind, each with its source as one string."
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in cells
            if cell["cell_type"] == kind]


def code_lines(source: str) -> list[str]:
    "The lines of a cell that a reader has to read: neither blank nor a directive."
    return [line for line in source.splitlines() if line.strip() and not line.startswith("#|")]


def test_there_are_notebooks(): assert len(lessons) >= 8 and root / "nbs/index.ipynb" in paths


@pytest.mark.parametrize("path", [*paths, *solutions], ids=name_of)
def test_opens_with_title_and_subtitle(path):
    first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]
    assert first["cell_type"] == "markdown" and re.match(r"# .+\n\n> .+", "".join(first["source"]))


def text_of(path: Path) -> str:
    return "\n\n".join(cell["source"] for cell in cells_of(path, "markdown"))


@pytest.mark.parametrize("path", lessons[1:], ids=name_of) # 00_start is a page to look at
def test_ends_with_summary_questions_exercises_and_the_way_on(path):
    end = text_of(path)
    places = [end.find(f"\n## {heading}\n") for heading in ("Summary", "Questions", "Exercises")]
    assert -1 < places[0] < places[1] < places[2]
    assert end.count("<summary>", places[1],
                     places[2]) == 5, "five short questions with folded answers"
    assert "Next: " in end[places[2]:] or path == lessons[-1]


# Limits of a lesson. A lesson that outgrows them carries more than one idea, or work that belongs
# to base/ (see CONTRIBUTING).

@pytest.mark.parametrize("path", lessons, ids=name_of)
def test_a_lesson_is_short_and_its_code_teaches(path):
    found = measure(path)
    cells, words, teaching = found["cells"], found["words"], found["teaching"]
    assert cells <= most_cells, (f"{cells} cells: more than one idea? move machinery to base/ "
                                 "and detours to exercises")
    assert words <= most_words, f"{words} words: cut what the code already says"
    assert teaching >= least_teaching, (f"{teaching:.0%} of the exported lines teach: "
                                        "move checks and files to base/")


@pytest.mark.parametrize("path", [*paths, *solutions], ids=name_of)
def test_code_lines_fit_the_page(path):
    long = [line for cell in cells_of(path, "code") for line in cell["source"].splitlines()
            if len(line) > longest_line]
    assert not long, (f"JupyterLab and the site cut lines off after {longest_line} characters: "
                      f"{long[0]}")


@pytest.mark.parametrize("path", lessons, ids=name_of)
def test_a_heading_stands_alone(path):
    for cell in cells_of(path, "markdown")[1:]:
        code_free = re.sub(r"```.*?```", "", cell["source"], flags=re.S)
        headings = re.findall(r"^#+ .*$", code_free, re.M)
        alone = not headings or cell["source"].strip() == headings[0]
        assert alone, f"a heading alone in its cell folds what follows: {headings[0]}"


@pytest.mark.parametrize("path", [*paths, *solutions], ids=name_of)
def test_functions_are_short(path):
    for cell in cells_of(path, "code"):
        for node in ast.walk(ast.parse(re.sub(r"^[%!].*$", "", cell["source"], flags=re.M))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                # a command's help is not counted
                first = node.body[1:] if ast.get_docstring(node) and node.body[1:] else node.body
                short = node.end_lineno - first[0].lineno < 25
                assert short, f"{node.name} has more than 25 lines: it does more than one thing"


@pytest.mark.parametrize("path", [*paths, *solutions], ids=name_of)
def test_links_lead_somewhere(path):
    for cell in cells_of(path, "markdown"):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", cell["source"]):
            assert re.match(r"https?:|mailto:|attachment:",
                            target) or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", [*lessons, *solutions], ids=name_of)
def test_cells_are_short(path):
    too_long = [code_lines(cell["source"])[0] for cell in cells_of(path, "code")
                if len(code_lines(cell["source"])) > 25]
    assert not too_long, "more than 25 lines of code in one cell"


@pytest.mark.parametrize("path", [*paths, *solutions], ids=name_of)
def test_imports_stand_alone(path):
    for cell in cells_of(path, "code"):
        kinds = {type(node)
                 for node in ast.parse(re.sub(r"^[%!].*$", "", cell["source"], flags=re.M)).body}
        if kinds & {ast.Import, ast.ImportFrom}:
            assert kinds <= {ast.Import, ast.ImportFrom,
                             ast.Try}, f"imports and other code in one cell:\n{cell['source']}"


@pytest.mark.parametrize("path", paths, ids=name_of)
def test_outputs_are_stored_and_hold_nothing_of_this_machine(path):
    outputs = [output for cell in cells_of(path, "code") for output in cell["outputs"]]
    shown = [output for output in outputs
             if {"image/png", "image/jpeg"} & set(output.get("data", {}))]
    assert shown or path not in lessons, "no stored picture"
    assert not [output["ename"] for output in outputs if output["output_type"] == "error"]
    widgets = [kind for output in outputs for kind in output.get("data", {}) if "widget" in kind]
    assert not widgets, ("a stored widget is dead: make notebook stores a figure as its still "
                         "picture; put #| notest before all others")
    texts = "".join("".join(output.get("text", ""))
                    + "".join(output.get("data", {}).get("text/plain", "")) for output in outputs)
    assert not re.search(r"(?<![\w.])(/home/|/root/|/tmp/|/Users/|[A-Z]:\\)|"
                         + re.escape(str(root)), texts)


@pytest.mark.parametrize("path", [*paths, *solutions], ids=name_of)
def test_size(path): assert path.stat().st_size < 700_000


@pytest.mark.parametrize("path", [path for path in paths if "\n## Exercises" in text_of(path)],
                         ids=name_of)
def test_every_exercise_has_its_solution(path):
    exercises = re.findall(r"^(\d)\. ", text_of(path).partition("\n## Exercises")[2], re.M)
    solution = root / "nbs/solutions" / path.name
    assert exercises and re.findall(r"^## (\d)\. ", text_of(solution), re.M) == exercises
    assert f"solutions/{path.name})" in text_of(path) and f"{path.name})" in text_of(solution)


def test_solutions_keep_to_themselves():
    assert {path.name for path in solutions} <= {path.name for path in paths}
    for path in solutions:
        assert not [cell for cell in cells_of(path, "code")
                    if re.search(r"^#\|\s*(default_exp|export)", cell["source"],
                                 re.M)], f"{path.name} exports code"


def answers(opened: str) -> bool:
    "Whether a Jupyter server listens already; its file appears a moment earlier."
    try: return bool(ask(opened, "status"))
    except OSError: return False


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    "The address of a Jupyter server with the notebooks."
    folder, token = tmp_path_factory.mktemp("jupyter"), uuid.uuid4().hex
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--port=0",
               f"--ServerApp.root_dir={root}", f"--IdentityProvider.token={token}"]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, env={**environment, "JUPYTER_RUNTIME_DIR": str(folder)},
                                   stdout=log, stderr=log)
    until = time.time() + 60
    def may_come(): return process.poll() is None and time.time() < until
    try:
        while not (running := [*folder.glob("jpserver-*.json")]) and may_come(): time.sleep(0.1)
        assert running, (folder / "log").read_text()
        opened = f"{json.loads(running[0].read_text())['url']}?token={token}"
        while not answers(opened) and may_come(): time.sleep(0.1)
        yield opened
    finally:
        process.terminate() # ends its kernels, too
        process.wait(timeout=60)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", paths, ids=name_of)
def test_runs(path, server):
    """From top to bottom in a kernel of a Jupyter server, as for a learner in JupyterLab:
    widgets too, but not what needs the whole of COCO."""
    before, cells = path.read_bytes(), [cell for cell in cells_of(path, "code")
                                        if not re.search(r"^#\|\s*slow", cell["source"], re.M)]
    outputs = execute(server, path.relative_to(root).as_posix(), "python3",
                      [cell["source"] for cell in cells])
    silent = [cell["source"] for cell, shown in zip(cells, outputs)
              if "TqdmCallback(" in cell["source"] and "widget-view" not in str(shown)]
    assert silent == [], "a training without the progress bar that it asks for"
    assert path.read_bytes() == before
