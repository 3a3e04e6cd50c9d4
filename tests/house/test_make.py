"""Setting up: the right Python is found, each thing missing gets one sentence, an interrupted setup
is not taken for a finished one.

The Pythons here are shell scripts that say what the test wants them to say and note what they were
asked to do.
"""
import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

root = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in Pythons are shell scripts")


@pytest.fixture
def bootstrap(tmp_path, monkeypatch):
    """tools/bootstrap.py in a copy of the project's setup files, in a folder with a space in
    its name."""
    home = tmp_path / "a project"
    (home / "tools").mkdir(parents=True)
    for name in ("settings.ini", "setup.py", "pyproject.toml", "constraints.txt", "Makefile",
                 "tools/bootstrap.py"):
        shutil.copy(root / name, home / name)
    spec = importlib.util.spec_from_file_location("bootstrap", home / "tools/bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("PYTHON", raising=False)
    module.CANDIDATES = []
    return module


def make_script(path: Path, *lines: str) -> str:
    "An executable shell script."
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return str(path)


def stand_in(path: Path, says: str, opencv: str = "exit 0", pip: str = "exit 0") -> str:
    """A Python that describes itself as told, makes environments with a copy of itself, and
    notes each call in calls.txt beside it."""
    return make_script(path, f'echo "$*" >> "{path.parent}/calls.txt"', 'case "$*" in',
                       f'  *find_spec*) echo "{says}|{path}";;',
                       f'  "-m venv"*) mkdir -p "$3/bin"; cp "{path}.inner" "$3/bin/python";;',
                       f'  *cv2*) {opencv};;', f'  "-m pip"*) {pip};;', "esac")


def project_with(bootstrap, tmp_path, opencv="exit 0", pip="exit 0") -> Path:
    """Give the project a Python 3.12; returns the file that lists what the environment's Python
    was asked."""
    inner = tmp_path / "inner"
    stand_in(inner / "python", "3.12|1|1", opencv, pip)
    outer = Path(stand_in(tmp_path / "outer/python3.12", "3.12|1|1"))
    shutil.copy(inner / "python", f"{outer}.inner")
    bootstrap.CANDIDATES = [str(outer)]
    return inner / "calls.txt"


def asked(calls: Path, what: str) -> int:
    return calls.read_text().count(what) if calls.exists() else 0


# Which Python

def test_a_shim_that_fails_is_passed_over(bootstrap, tmp_path):
    shim = make_script(tmp_path / "python3.13", "echo 'not installed' >&2", "exit 127")
    bootstrap.CANDIDATES = ["no-such-python", shim, stand_in(tmp_path / "python3.11", "3.11|1|1")]
    assert bootstrap.find_python() == str(tmp_path / "python3.11")


def test_the_named_python_comes_first(bootstrap, tmp_path, monkeypatch):
    bootstrap.CANDIDATES = [stand_in(tmp_path / "python3.13", "3.13|1|1")]
    monkeypatch.setenv("PYTHON", stand_in(tmp_path / "mine", "3.12|1|1"))
    assert bootstrap.find_python() == str(tmp_path / "mine")


@pytest.mark.parametrize("says, named",
                         [("3.10|1|1", "Python 3.10"), ("3.14|1|1", "Python 3.14"),
                          ("3.12|0|1", "32-bit")])
def test_unsuitable_python(bootstrap, tmp_path, says, named):
    bootstrap.CANDIDATES = [stand_in(tmp_path / "python3", says)]
    with pytest.raises(bootstrap.SetupError, match=r"needs Python 3\.11 to 3\.13 "
                       rf".*{named}.*install Python 3\.12"):
        bootstrap.find_python()


def test_python_without_venv(bootstrap, tmp_path):
    bootstrap.CANDIDATES = [stand_in(tmp_path / "python3", "3.12|1|0"),
                            stand_in(tmp_path / "old", "3.9|1|1")]
    with pytest.raises(bootstrap.SetupError, match="apt-get install python3.12-venv"):
        bootstrap.find_python()


def test_a_python_with_venv_wins_over_one_without(bootstrap, tmp_path):
    bootstrap.CANDIDATES = [stand_in(tmp_path / "bare", "3.13|1|0"),
                            stand_in(tmp_path / "whole", "3.12|1|1")]
    assert bootstrap.find_python() == str(tmp_path / "whole")


def test_this_python_suits(bootstrap):
    bootstrap.CANDIDATES = [sys.executable]
    assert Path(bootstrap.find_python()) == Path(sys.executable)


# Setting up, and setting up again

def apart(bootstrap) -> list[str]:
    "The command that sets up in a process of its own, with the same Pythons to choose from."
    return [sys.executable, "-c", "import sys; sys.path.insert(0, 'tools'); import bootstrap; "
            f"bootstrap.CANDIDATES = {bootstrap.CANDIDATES}; bootstrap.main()"]


def test_second_call_does_nothing(bootstrap, tmp_path):
    calls = project_with(bootstrap, tmp_path)
    bootstrap.set_up()
    before = calls.read_text()
    assert asked(calls, "-e .[demo,learn,heic,video,server,scale,dev,docs]") == 1
    assert asked(calls, "-c constraints.txt") == 2
    bootstrap.set_up()
    assert calls.read_text() == before


def test_each_stage_adds_to_the_one_before_and_never_goes_back(bootstrap, tmp_path):
    calls = project_with(bootstrap, tmp_path)
    for stage in ("demo", "lab", "demo", "all", "lab"): bootstrap.set_up(stage)
    installed = [line.rpartition(" ")[2] for line in calls.read_text().splitlines()
                 if " -e " in line]
    assert installed == [".[demo]", ".[demo,learn,heic,video,server,scale]",
                         ".[demo,learn,heic,video,server,scale,dev,docs]"]


def test_a_target_installs_what_its_stage_says(bootstrap, tmp_path):
    calls = project_with(bootstrap, tmp_path)
    subprocess.run([*apart(bootstrap), "--for", "demo", "-c", "pass"], cwd=bootstrap.ROOT,
                   check=True)
    assert asked(calls, "-e .[demo]\n") == 1
    assert bootstrap.STATE.read_text() == bootstrap.wanted_state("demo")


def test_changed_settings_are_installed_into_the_same_environment(bootstrap, tmp_path):
    calls = project_with(bootstrap, tmp_path)
    bootstrap.set_up()
    (bootstrap.VENV / "kept").touch()
    (bootstrap.ROOT / "settings.ini").write_text((bootstrap.ROOT / "settings.ini").read_text()
                                                 + "\n# changed\n")
    bootstrap.set_up()
    assert asked(calls, "-e .[") == 2 and (bootstrap.VENV / "kept").exists()


@pytest.mark.parametrize("state", ["making", "0123456789abcdef /another/place"])
def test_half_made_or_moved_environment_is_made_again(bootstrap, tmp_path, state):
    project_with(bootstrap, tmp_path)
    bootstrap.set_up()
    (bootstrap.VENV / "left over").touch()
    bootstrap.STATE.write_text(state)
    bootstrap.set_up()
    assert not (bootstrap.VENV / "left over").exists()
    assert bootstrap.STATE.read_text() == bootstrap.wanted_state()


def test_an_environment_made_by_hand_is_used_not_removed(bootstrap, tmp_path):
    calls = project_with(bootstrap, tmp_path)
    bootstrap.set_up()
    (bootstrap.VENV / "kept").touch()
    bootstrap.STATE.unlink()
    bootstrap.set_up()
    assert asked(calls, "-e .[") == 2 and (bootstrap.VENV / "kept").exists()


def test_an_environment_of_another_worktree_is_left_alone(bootstrap, tmp_path):
    project_with(bootstrap, tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/kept").touch()
    bootstrap.VENV.symlink_to(tmp_path / "other")
    with pytest.raises(bootstrap.SetupError, match="is a link .*PYTHONPATH="): bootstrap.set_up()
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["kept"]


def test_killed_while_installing(bootstrap, tmp_path):
    calls = project_with(bootstrap, tmp_path, pip="kill -9 $PPID")
    killed = subprocess.run(apart(bootstrap), cwd=bootstrap.ROOT, capture_output=True)
    assert killed.returncode < 0 and bootstrap.STATE.read_text() == "making"
    calls = project_with(bootstrap, tmp_path)
    bootstrap.set_up()
    assert asked(calls, "-e .[") == 1 and bootstrap.STATE.read_text() == bootstrap.wanted_state()


def test_two_calls_at_once_set_up_once(bootstrap, tmp_path):
    calls = project_with(bootstrap, tmp_path, pip="sleep 0.3")
    both = [subprocess.Popen(apart(bootstrap), cwd=bootstrap.ROOT) for _ in range(2)]
    assert [one.wait(timeout=60) for one in both] == [0, 0] and asked(calls, "-e .[") == 1


def test_failed_installation(bootstrap, tmp_path):
    calls = project_with(bootstrap, tmp_path, pip="exit 1")
    for _ in range(2): # the second call tries again
        with pytest.raises(bootstrap.SetupError, match="network"): bootstrap.set_up()
    assert asked(calls, "-m pip") == 2


def test_missing_system_library(bootstrap, tmp_path):
    missing = ("echo 'ImportError: libGL.so.1: cannot open shared object file: "
               "No such file or directory' >&2; exit 1")
    calls = project_with(bootstrap, tmp_path,
                         opencv=f'test -e "{tmp_path}/libGL" || {{ {missing}; }}')
    for _ in range(2):
        with pytest.raises(bootstrap.SetupError, match=r"libGL\.so\.1.*apt-get install libgl1 "
                           r"libglib2\.0-0"):
            bootstrap.set_up()
    (tmp_path / "libGL").touch()
    bootstrap.set_up()
    assert asked(calls, "-e .[") == 1, "what was installed is not installed again"


# make

def make(folder: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess:
    environment = {**os.environ, **({"PATH": str(path)} if path else {})}
    environment.pop("PYTHON", None)
    return subprocess.run([shutil.which("make"), *arguments], cwd=folder, env=environment,
                          capture_output=True, text=True)


def test_no_python_at_all(bootstrap, tmp_path):
    (tmp_path / "empty").mkdir()
    done = make(bootstrap.ROOT, "test", path=tmp_path / "empty")
    said = "No Python 3 runs here: install Python 3.12 (with venv) and try again."
    assert done.returncode and done.stderr.splitlines()[0] == said


def test_make_says_it_in_one_sentence(bootstrap, tmp_path):
    "The real bootstrap, run by a real Python, with one that is too old as the only candidate."
    text = (bootstrap.ROOT / "tools/bootstrap.py").read_text()
    (bootstrap.ROOT / "tools/bootstrap.py").write_text(re.sub(r"^CANDIDATES = .*$", 'CANDIDATES = '
                                                              '["python3.7"]', text, flags=re.M))
    stand_in(tmp_path / "path/python3.7", "3.7|1|1")
    make_script(tmp_path / "path/python3", f'exec "{sys.executable}" "$@"')
    done = make(bootstrap.ROOT, "install", path=tmp_path / "path")
    assert done.returncode and "bg_remover needs Python 3.11 to 3.13" in done.stderr
    assert "Traceback" not in done.stderr and not bootstrap.VENV.exists()


def test_help_names_every_target(bootstrap):
    text = (root / "Makefile").read_text().replace("\\\n", "")
    targets = re.search(r"^\.PHONY: (.*)$", text, re.M)[1].split()
    listed = re.findall(r"^  make ([\w-]+)", make(bootstrap.ROOT).stdout, re.M)
    assert listed == targets


def test_every_target_runs_a_file_that_is_there():
    for script in re.findall(r"\$\(call python,(?:--for \w+ )?([\w/]+\.py)",
                             (root / "Makefile").read_text()):
        assert (root / script).is_file(), script


def test_old_pythons_can_read_the_bootstrap():
    ast.parse((root / "tools/bootstrap.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_arguments_and_exit_status_reach_the_environment(bootstrap, tmp_path):
    project_with(bootstrap, tmp_path)
    bootstrap.set_up()
    make_script(bootstrap.VENV_PYTHON, 'echo "$PWD: $*"', "exit 3")
    done = subprocess.run([sys.executable, bootstrap.ROOT / "tools/bootstrap.py", "-m", "pytest",
                           "two words"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 3 and done.stdout.strip() == f"{bootstrap.ROOT}: -m pytest two words"
