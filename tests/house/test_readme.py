"""The commands of the README do what it says: each is run here, in an empty folder, or named
with the place where it is."""
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

import pictures
from bg_remover.images import read_image
from bg_remover.removal import Remover

root = Path(__file__).resolve().parents[2]
samples = root / "nbs/samples/mini_coco/val2017"
elsewhere = {
    "make test": "what runs this", "make demo": "below", "make docs": "test_docs.py",
             "make docs-serve": "below", "make lab": "starts JupyterLab and stays",
    "pip install .": "test_wheel.py", 'pip install ".[learn]"': "make install, with which the "
             "tests begin",
    "bg-remover train mine run": "test_cli.py, with fewer steps and the same arguments",
    'pip install ".[video,server]"': "as the other extra",
    "bg-remover remove me.jpg --crop": "test_cli.py", "bg-remover serve": "test_server.py",
    "bg-remover remove clip.mp4 clip.webm": "test_video.py",
}
commands = re.findall(r"^    ((?:make|pip|bg-remover) .*?)(?: +# .*)?$",
                      (root / "README.md").read_text(encoding="utf-8"), re.M)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    "A folder with the files that the README speaks of."
    folder = tmp_path_factory.mktemp("newcomer")
    for name in ("photo.jpg", "me.jpg", "photos/one.jpg", "photos/deeper/two.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(samples / "000000343937.jpg", folder / name)
    cv2.imwrite(str(folder / "sea.jpg"), np.full((200, 300, 3), (160, 90, 20), np.uint8))
    (folder / "run").mkdir()
    shutil.copy(root / "bg_remover/weights/person.onnx", folder / "run/model.onnx")
    return folder


def sh(command: str, folder: Path) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(command, shell=True, cwd=folder, env={**os.environ, "PATH": path},
                          capture_output=True, text=True)


def test_every_command_is_tried_somewhere():
    assert set(elsewhere) <= set(commands)
    assert all(command.startswith("bg-remover remove") for command in commands
               if command not in elsewhere)


@pytest.mark.parametrize("command", [command for command in commands if command not in elsewhere])
def test_a_command_of_the_readme(command, folder):
    made = [folder / name for name in ("cutout.png", "cutouts", "at-sea.jpg")]
    for path in made: shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    done = sh(command, folder)
    assert done.returncode == 0, done.stderr
    found = [file for path in made
             for file in ([path] if path.is_file() else path.rglob("[!.]*.*"))]
    assert len(found) == (2 if "photos" in command else 1)
    for file in found: assert read_image(file).shape == read_image(folder / "photo.jpg").shape


# What the home page shows is made from what there is

@pytest.mark.parametrize("cell_id", pictures.tables)
def test_a_table_of_the_home_page_is_of_todays_measurements(cell_id):
    cells = json.loads((root / "nbs/index.ipynb").read_text(encoding="utf-8"))["cells"]
    table, = ["".join(cell["source"]) for cell in cells if cell["id"] == cell_id]
    assert table == pictures.tables[cell_id](), "run make readme"
    assert table in (root / "README.md").read_text(encoding="utf-8"), "run make readme"


@pytest.mark.parametrize("name", pictures.photos)
def test_a_picture_of_the_home_page_is_of_todays_network(name):
    assert pictures.is_current(name, pictures.photos[name](Remover())), "run make readme"


def test_the_drawing_of_quality_is_of_todays_table(tmp_path):
    pictures.draw_quality(tmp_path / "quality.svg")
    for path in (tmp_path / "quality.svg", root / "nbs/images/quality.svg"):
        assert pictures.quality_mark() in path.read_text(encoding="utf-8"), "run make readme"


def test_the_home_page_says_what_it_is_before_what_to_install():
    text = (root / "README.md").read_text(encoding="utf-8")
    first = [text.index(words)
             for words in ("**Background removal**", "](nbs/images/steps.jpg)", "make demo",
                           "make test", "pip install", "apt-get")]
    assert first == sorted(first) and "csv" not in text


# The demonstration and the site

def copy_of(folder: Path, *names: str) -> Path:
    "Some of the project's files, elsewhere."
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (root / name).is_dir() else shutil.copy
        copy(root / name, folder / name)
    return folder


def test_the_demo_says_how_good_and_where(tmp_path):
    copy = copy_of(tmp_path, "examples/demo.py", "nbs/samples")
    done = subprocess.run([sys.executable, "examples/demo.py"], cwd=copy, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert "IoU" in done.stdout and "demo" in done.stdout.splitlines()[-1]
    assert list((copy / "demo").iterdir())


def test_the_site_is_served(tmp_path):
    serve = [sys.executable, str(copy_of(tmp_path, "docs/serve.py") / "docs/serve.py"), "0"]
    none = subprocess.run(serve, capture_output=True, text=True)
    assert none.returncode and none.stderr.strip() == "There is no site yet: run make docs first."
    html = tmp_path / "docs/_build/html"
    html.mkdir(parents=True)
    for name in ("index.html", "a.mjs", "a.wasm"): (html / name).write_text("here")
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = server.stdout.readline().split()[0]
            for name, kind in (("", "text/html"), ("a.mjs", "text/javascript"),
                               ("a.wasm", "application/wasm")):
                with urllib.request.urlopen(address + name, timeout=10) as answer:
                    assert answer.headers["content-type"].startswith(kind)
                    assert answer.read() == b"here"
        finally: server.terminate()
