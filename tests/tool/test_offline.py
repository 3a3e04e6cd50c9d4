"""Nothing leaves this machine, and nothing is written where nobody looks."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

root = Path(__file__).resolve().parents[2]
samples = root / "nbs/samples/mini_coco/val2017"
person = samples / "000000343937.jpg"
ways = {
    "the command": ["-m", "bg_remover", "remove", person, "{out}/a.png"],
    "two workers": ["-m", "bg_remover", "remove", "{photos}", "{out}/cut", "--workers", "2"],
    "Remover": ["-c", "from bg_remover.removal import Remover; import time; "
                f"Remover().alpha({str(person)!r}); time.sleep(1)"],
}


@pytest.mark.parametrize("way", ways)
def test_nothing_is_written_below_home_and_no_socket_is_opened(way, tmp_path):
    home, photos, trace = tmp_path / "home", tmp_path / "photos", tmp_path / "trace"
    for folder in (home, photos): folder.mkdir()
    for number in range(2): shutil.copy(person, photos / f"{number}.jpg")
    line = [sys.executable, *(str(part).format(out=tmp_path, photos=photos) for part in ways[way])]
    if strace := shutil.which("strace"):
        line = [strace, "-f", "-qq", "-e", "trace=socket", "-o", str(trace), *line]
    environment = {name: value for name, value in os.environ.items()
                   if name != "ORT_DISABLE_TELEMETRY" and not name.startswith("XDG_")}
    done = subprocess.run(line, env={**environment, "HOME": str(home), "PYTHONPATH": str(root)},
                          cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "elemetry" not in done.stderr, done.stderr
    assert not list(home.rglob("*"))
    if strace: assert not re.findall(r"socket\(AF_INET.*", trace.read_text())


def test_the_runtime_is_imported_in_one_place(project_files):
    found = [path.relative_to(root).as_posix() for path in project_files
             if path.suffix in (".py", ".ipynb", ".md") and path != Path(__file__)
             and re.search(r'^[\s"]*(import onnxruntime|from onnxruntime)\b',
                           path.read_text(encoding="utf-8"), re.M)]
    assert found == ["bg_remover/base/network.py", "nbs/base/network.ipynb"], (
        "import it from bg_remover.base.network, which switches its telemetry off first")
