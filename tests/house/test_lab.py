"""`make lab` opens the index in JupyterLab, and a notebook runs there from top to bottom, with
the kernel of .venv and no other."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from notebook_server import ask, execute, printed

root = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.skipif(Path(sys.prefix) != root / ".venv", reason="make lab runs in "
                                 ".venv, and these tests do not"),
              pytest.mark.skipif(os.name == "nt" or not shutil.which("make"),
                                 reason="needs make and a shell")]


def foreign_kernel(folder: Path):
    """A kernel named python3, as `ipython kernel install --user` registers one, of a Python
    that has none of our packages."""
    (folder / "kernels/python3").mkdir(parents=True)
    spec = dict(argv=[str(folder / "no-such-python"), "-f", "{connection_file}"],
                display_name="somebody else's", language="python")
    (folder / "kernels/python3/kernel.json").write_text(json.dumps(spec))


def machine(home: Path) -> dict[str, str]: # environment variables
    "A user with kernels of their own, whose browser writes down which file it is told to open."
    for folder in (home / ".local/share/jupyter", home / "more"): foreign_kernel(folder)
    (home / ".jupyter").mkdir()
    settings = json.dumps({"ServerApp": {"allow_root": True}})
    (home / ".jupyter/jupyter_server_config.json").write_text(settings)
    browser, part = home / "browser", home / "part"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{part}" && mv "{part}" "{home}/opened"\n')
    browser.chmod(0o755)
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("JUPYTER", "IPYTHON", "XDG", "MPLBACKEND"))}
    return {**kept, "HOME": str(home), "BROWSER": f"{browser} %s",
            "JUPYTER_PATH": str(home / "more"), "JUPYTER_PREFER_ENV_PATH": "0"}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    "The address that the browser is sent to by `make lab`."
    home = tmp_path_factory.mktemp("home")
    with open(home / "log", "w") as log:
        lab = subprocess.Popen(["make", "lab"], cwd=root, env=machine(home), stdout=log, stderr=log,
                               start_new_session=True)
    try:
        until = time.time() + 120
        while not (home / "opened").exists() and lab.poll() is None and time.time() < until:
            time.sleep(0.2)
        assert (home / "opened").exists(), (home / "log").read_text()
        page = (home / "opened").read_text().strip().removeprefix("file://")
        yield re.search(r'<a href="([^"]+)"', Path(page).read_text())[1]
    finally:
        os.killpg(lab.pid, signal.SIGTERM) # ends its kernels, too
        lab.wait(timeout=60)


def test_it_opens_the_index(opened):
    assert re.fullmatch(r"http://localhost:\d+/lab/tree/nbs/index\.ipynb\?token=\w+", opened)
    assert ask(opened, "contents/nbs/index.ipynb?content=0")["type"] == "notebook"


def test_what_the_notebooks_link_to_lies_within_reach(opened):
    assert ask(opened, "contents/bg_remover/weights/MODEL_CARD.md?content=0")["type"] == "file"


@pytest.mark.parametrize("name", ["index", "02_metrics"])
def test_a_notebook_runs_there_with_our_kernel(opened, name):
    notebook = json.loads((root / f"nbs/{name}.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells]
    *outputs, prefix = execute(opened, f"nbs/{name}.ipynb",
                               notebook["metadata"]["kernelspec"]["name"],
                               [*sources, "import sys; print(sys.prefix)"])
    assert printed(prefix).strip() == str(root / ".venv")
    assert [printed(one) for one in outputs] == [printed(cell["outputs"]) for cell in cells]
