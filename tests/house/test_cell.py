"""Cells by their ids: listed, printed, replaced, added and dropped, with no other change to the
file."""
import io
import json
import shutil

import pytest

import cell
import house

name, first, second = "00_start", "start-title", "start-imports"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    "A project with one notebook."
    (tmp_path / "nbs").mkdir()
    shutil.copy(house.root / f"nbs/{name}.ipynb", tmp_path / "nbs")
    monkeypatch.setattr(cell, "root", tmp_path)
    return tmp_path


def cells(folder):
    return json.loads((folder / f"nbs/{name}.ipynb").read_text(encoding="utf-8"))["cells"]


def test_listed_and_printed(folder, capsys):
    cell.main([name])
    assert capsys.readouterr().out.splitlines()[0].split()[:4] == [first, "markdown", "#", "Start"]
    cell.main([name, first])
    assert capsys.readouterr().out == "".join(cells(folder)[0]["source"]) + "\n"


def test_replaced_with_itself_nothing_changes(folder):
    before = (folder / f"nbs/{name}.ipynb").read_bytes()
    (folder / "text").write_text("".join(cells(folder)[0]["source"]) + "\n", encoding="utf-8")
    cell.main([name, first, "--replace", str(folder / "text")])
    assert (folder / f"nbs/{name}.ipynb").read_bytes() == before


def test_added_and_dropped(folder, monkeypatch):
    before = (folder / f"nbs/{name}.ipynb").read_bytes()
    monkeypatch.setattr("sys.stdin", io.StringIO("x = 1\ny = 2\n"))
    cell.main([name, first, "--after", "start-new", "-"])
    assert cells(folder)[1] == dict(cell_type="code", id="start-new", metadata={},
                                    source=["x = 1\n", "y = 2"], execution_count=None, outputs=[])
    cell.main([name, "start-new", "--drop"])
    assert (folder / f"nbs/{name}.ipynb").read_bytes() == before


def test_wrong_ids_are_refused(folder):
    with pytest.raises(SystemExit, match="no cell has the id nothing"): cell.main([name, "nothing"])
    (folder / "text").touch()
    for wrong in (second, "two words"):
        with pytest.raises(SystemExit, match="an id is new"):
            cell.main([name, first, "--after", wrong, str(folder / "text")])
