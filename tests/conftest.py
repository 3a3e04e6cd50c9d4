"""What all tests share: where the project is, and that the quick answers come first."""
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "agg")
# A shell that runs the tests in the background has Ctrl-C ignored, and whatever they start would
# inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest

root = Path(__file__).resolve().parent.parent
first = ["test_project", "test_make"] # quick checks of the source
# started early, so that no process waits for them at the end
long = ["test_notebooks", "test_solutions", "test_training", "test_docs", "test_wheel"]


def pytest_collection_modifyitems(items):
    """Quick answers first, then what takes long. Two processes share the files; the notebooks
    are shared out one by one."""
    def place(item):
        name = item.path.stem
        if name in first: return first.index(name) - 100
        return long.index(name) - 50 if name in long else 0
    items.sort(key=place)
    for item in items:
        alone = item.originalname == "test_runs"
        item.add_marker(pytest.mark.xdist_group(item.name if alone else item.path.stem))


@pytest.fixture(scope="session")
def project() -> Path:
    "The root of the project."
    return root


@pytest.fixture(scope="session")
def project_files() -> list[Path]:
    """Every file that belongs to the project: what git tracks, or would; without git, what
    .gitignore does not name."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others",
                                 "--exclude-standard"], cwd=root, capture_output=True, check=True)
        paths = [root / name for name in listed.stdout.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        patterns = [line.rstrip("/")
                    for line in (root / ".gitignore").read_text(encoding="utf-8").split()]
        paths = list(files_below(root, [".git", *patterns]))
    return [path for path in paths if path.is_file()]


@pytest.fixture(scope="session")
def s3(tmp_path_factory) -> str:
    """A real S3 server on this machine, which keeps its objects in memory; the address of a
    bucket in it. Whatever is started afterwards finds it."""
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port = any_port.getsockname()[1]
    os.environ |= dict(AWS_ACCESS_KEY_ID="tests", AWS_SECRET_ACCESS_KEY="tests",
                       AWS_DEFAULT_REGION="us-east-1", AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}")
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p",
                               str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < deadline:
            time.sleep(0.05)
        import fsspec
        fsspec.filesystem("s3").mkdir("bucket")
        yield "s3://bucket"
    finally:
        server.kill()
        server.wait()


def files_below(folder: Path, patterns: list[str]):
    "The files in a folder and its folders, except those that a pattern names."
    for path in folder.iterdir():
        if any(path.relative_to(root).match(pattern) for pattern in patterns): continue
        if path.is_dir(): yield from files_below(path, patterns)
        else: yield path
