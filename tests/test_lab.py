"""`make lab` opens the index in JupyterLab, and a notebook runs there from top to bottom, with the kernel of .venv and no other."""
import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
from tornado.websocket import websocket_connect

root = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.skipif(Path(sys.prefix) != root / ".venv", reason="make lab runs in .venv, and these tests do not"),
              pytest.mark.skipif(os.name == "nt" or not shutil.which("make"), reason="needs make and a shell")]


def foreign_kernel(folder: Path):
    "A kernel named python3, as `ipython kernel install --user` registers one, of a Python that has none of our packages."
    (folder / "kernels/python3").mkdir(parents=True)
    spec = dict(argv=[str(folder / "no-such-python"), "-f", "{connection_file}"], display_name="somebody else's", language="python")
    (folder / "kernels/python3/kernel.json").write_text(json.dumps(spec))


def machine(home: Path) -> dict[str, str]: # environment variables
    "A user with kernels of their own, whose browser writes down which file it is told to open."
    for folder in (home / ".local/share/jupyter", home / "more"): foreign_kernel(folder)
    (home / ".jupyter").mkdir()
    (home / ".jupyter/jupyter_server_config.json").write_text(json.dumps({"ServerApp": {"allow_root": True}}))
    browser = home / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{home}/part" && mv "{home}/part" "{home}/opened"\n')
    browser.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "IPYTHON", "XDG", "MPLBACKEND"))}
    return {**kept, "HOME": str(home), "BROWSER": f"{browser} %s", "JUPYTER_PATH": str(home / "more"), "JUPYTER_PREFER_ENV_PATH": "0"}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    "The address that the browser is sent to by `make lab`."
    home = tmp_path_factory.mktemp("home")
    with open(home / "log", "w") as log:
        lab = subprocess.Popen(["make", "lab"], cwd=root, env=machine(home), stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.time() + 120
        while not (home / "opened").exists() and lab.poll() is None and time.time() < until: time.sleep(0.2)
        assert (home / "opened").exists(), (home / "log").read_text()
        page = (home / "opened").read_text().strip().removeprefix("file://")
        yield re.search(r'<a href="([^"]+)"', Path(page).read_text())[1]
    finally:
        os.killpg(lab.pid, signal.SIGTERM) # ends its kernels, too
        lab.wait(timeout=60)


def ask(opened: str, what: str, content: dict | None = None):
    "An answer of the server."
    server, token = re.match(r"(http://[^/]+)/.*token=(\w+)", opened).groups()
    request = urllib.request.Request(f"{server}/api/{what}", headers={"Authorization": f"token {token}", "Content-Type": "application/json"},
                                     data=json.dumps(content).encode() if content else None)
    return json.load(urllib.request.urlopen(request, timeout=60))


async def execute(opened: str, kernel: str, sources: list[str]) -> list[str]: # what each printed
    "Run cells in a kernel of the server, over the same connection that JupyterLab uses."
    server, token = re.match(r"http://([^/]+)/.*token=(\w+)", opened).groups()
    socket, printed = await websocket_connect(f"ws://{server}/api/kernels/{kernel}/channels?token={token}", max_message_size=2**26), []
    for source in sources:
        header = dict(msg_id=uuid.uuid4().hex, msg_type="execute_request", session="lab", username="", version="5.3")
        content = dict(code=source, silent=False, store_history=True, allow_stdin=False, stop_on_error=True)
        await socket.write_message(json.dumps(dict(header=header, parent_header={}, metadata={}, content=content, channel="shell")))
        text, replied, idle = "", False, False
        while not (replied and idle):
            message = json.loads(await asyncio.wait_for(socket.read_message(), 120))
            if message["parent_header"].get("msg_id") != header["msg_id"]: continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream" and content["name"] == "stdout": text += content["text"]
            idle |= kind == "status" and content["execution_state"] == "idle"
            replied |= kind == "execute_reply"
            if kind == "execute_reply": assert content["status"] == "ok", f"{source}\n{content}"
        printed.append(text)
    socket.close()
    return printed


def test_it_opens_the_index(opened):
    assert re.fullmatch(r"http://localhost:\d+/lab/tree/nbs/index\.ipynb\?token=\w+", opened)
    assert ask(opened, "contents/nbs/index.ipynb?content=0")["type"] == "notebook"


def test_what_the_notebooks_link_to_lies_within_reach(opened):
    assert ask(opened, "contents/bg_remover/weights/MODEL_CARD.md?content=0")["type"] == "file"


@pytest.mark.parametrize("name", ["index", "00_metrics"])
def test_a_notebook_runs_there_with_our_kernel(opened, name):
    cells = [cell for cell in json.loads((root / f"nbs/{name}.ipynb").read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    kernel = json.loads((root / f"nbs/{name}.ipynb").read_text(encoding="utf-8"))["metadata"]["kernelspec"]["name"]
    session = ask(opened, "sessions", dict(path=f"nbs/{name}.ipynb", name=name, type="notebook", kernel=dict(name=kernel)))
    sources = ["".join(cell["source"]) for cell in cells]
    *printed, prefix = asyncio.run(execute(opened, session["kernel"]["id"], [*sources, "import sys; print(sys.prefix)"]))
    assert prefix.strip() == str(root / ".venv")
    assert printed == ["".join("".join(output["text"]) for output in cell["outputs"] if output.get("name") == "stdout") for cell in cells]
