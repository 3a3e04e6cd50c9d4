"""Set up .venv when it is missing or out of date, then run its Python with the given arguments.

    python tools/bootstrap.py                             set up everything
    python tools/bootstrap.py -m pytest tests             set up if needed, then run that
    python tools/bootstrap.py --for demo examples/demo.py set up what that needs, then run it

Any Python 3.6 or newer can run this file; it looks for one that suits the package.
`.venv/setup.state` says how far the setup came, so that an interrupted one is not taken for
finished and a finished one is not done again.
"""
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STATE = VENV / "setup.state"
SETUP_FILES = ["settings.ini", "setup.py", "pyproject.toml", "constraints.txt"]
# What each stage installs, the smallest first; a later stage adds to what is there.
STAGES = {"demo": "demo", "lab": "demo,learn,heic,video,server,scale",
          "all": "demo,learn,heic,video,server,scale,dev,docs"}
SIZES = {"demo": "0.3 GB and half a minute", "lab": "3 GB and a few minutes",
         "all": "3 GB and a few minutes"}
CANDIDATES = ["python3.13", "python3.12", "python3.11", "python3", "python", sys.executable]


class SetupError(Exception):
    "One sentence that says what is missing and what to install."


def supported_minors():
    "The minor versions of Python 3 that settings.ini allows, newest first."
    text = (ROOT / "settings.ini").read_text(encoding="utf-8")
    least, below = (int(re.search(rf"^{key} *= *3\.(\d+)", text, re.M).group(1))
                    for key in ("min_python", "below_python"))
    return list(range(below - 1, least - 1, -1))


def ask(command):
    """What a Python says of itself: version, 64-bit, can make environments, path; None if it does
    not run."""
    question = ("import importlib.util as u, sys; "
                "has = all(u.find_spec(m) for m in ('venv', 'ensurepip'));"
                "print('%d.%d|%d|%d|%s' % (sys.version_info[0], sys.version_info[1], "
                "sys.maxsize > 2**32, has, sys.executable))")
    try:
        answer = subprocess.run([command, "-c", question], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    parts = answer.stdout.decode(errors="replace").strip().split("|", 3)
    if answer.returncode or len(parts) != 4:
        return None
    return parts[0], parts[1] == "1", parts[2] == "1", parts[3]


def find_python():
    "The first Python that suits, or a `SetupError` that says what to install."
    wanted = ["3.%d" % minor for minor in supported_minors()]
    found, without_venv = [], None
    for command in [os.environ.get("PYTHON")] + CANDIDATES:
        answer = ask(command) if command else None
        if answer is None:
            continue
        version, is_64_bit, makes_environments, path = answer
        if version not in wanted or not is_64_bit:
            found.append("Python %s%s" % (version, "" if is_64_bit else " (32-bit)"))
        elif makes_environments:
            return path
        else:
            without_venv = without_venv or version
    if without_venv:
        raise SetupError("Python {0} is here, but without the module venv: install it (on Debian "
                         "and Ubuntu: apt-get install python{0}-venv) and try again."
                         .format(without_venv))
    here = " and ".join(sorted(set(found))) or "none"
    raise SetupError("bg_remover needs Python %s to %s (64-bit), and here is %s: install Python "
                     "%s, or point PYTHON at one, and try again."
                     % (wanted[-1], wanted[0], here, wanted[1]))


def wanted_state(stage="all"):
    """What a finished setup writes into the state file: it changes with the place and with every
    file that decides what is installed."""
    digest = hashlib.sha256()
    for name in SETUP_FILES:
        digest.update((ROOT / name).read_bytes())
    return "%s %s %s" % (digest.hexdigest()[:16], stage, ROOT)


def is_enough(state, stage):
    "Whether a finished setup, of this stage or a later one, is noted."
    later = list(STAGES)[list(STAGES).index(stage):]
    return VENV_PYTHON.exists() and state in [wanted_state(each) for each in later]


def read_state():
    return STATE.read_text(encoding="utf-8") if STATE.exists() else ""


def make_environment(stage):
    "A new .venv; one that a stopped setup left half done, or that was moved, is made again."
    python = find_python()
    if read_state():
        shutil.rmtree(str(VENV))
    VENV.mkdir(exist_ok=True)
    STATE.write_text("making", encoding="utf-8")
    print("Setting up .venv with %s (about %s, once) ..." % (python, SIZES[stage]), flush=True)
    if subprocess.call([python, "-m", "venv", str(VENV)]):
        raise SetupError("%s could not make the environment .venv: see its message above (on "
                         "Debian and Ubuntu, apt-get install python3-venv helps) and try again."
                         % python)


def install_packages(stage):
    "The package, editable, with the extras of a stage, at the tested versions."
    install = [str(VENV_PYTHON), "-m", "pip", "install", "--disable-pip-version-check",
               "-c", "constraints.txt"]
    # The build tool comes first, at its tested version too, so that a later change of settings.ini
    # needs no network.
    for arguments in (["setuptools"], ["--no-build-isolation", "-e", ".[%s]" % STAGES[stage]]):
        if subprocess.call(install + arguments, cwd=str(ROOT)):
            raise SetupError("Installing the packages failed: see pip's message above, check the "
                             "network and the disk (3 GB), and try again.")


def check_opencv():
    "opencv-python brings all but two system libraries."
    check = subprocess.run([str(VENV_PYTHON), "-c", "import cv2"], stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE)
    if check.returncode == 0:
        return
    lines = check.stderr.decode(errors="replace").strip().splitlines()
    message = lines[-1] if lines else "exit status %d" % check.returncode
    library = re.search(r"lib[\w.+-]*\.so[\w.]*", message)
    if library:
        raise SetupError("OpenCV needs the system library %s: install it (on Debian and Ubuntu: "
                         "apt-get install libgl1 libglib2.0-0; on Fedora: dnf install mesa-libGL "
                         "glib2) and try again." % library.group())
    raise SetupError("OpenCV was installed but does not start (%s): remove the folder .venv and "
                     "try again." % message)


@contextlib.contextmanager
def alone():
    """Wait while another setup of this project is under way. The lock goes with its process,
    however that ends."""
    with open(str(ROOT / ".venv.lock"), "w") as file:
        if os.name == "nt":
            import msvcrt
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def set_up(stage="all"):
    "Bring .venv to a stage, from wherever it stands."
    if is_enough(read_state(), stage):
        return
    with alone():
        finish(stage)


def finish(stage):
    "The steps that are still missing; each notes in the state file that it begins or is done."
    wanted = wanted_state(stage)
    unchecked = "unchecked " + wanted
    state = read_state()
    if is_enough(state, stage):
        return
    if VENV.is_symlink():
        raise SetupError(".venv is a link to another folder's environment, which would be changed: "
                         "remove the link; to use that environment as it is, call its Python with "
                         "PYTHONPATH=%s." % ROOT)
    if state != unchecked:
        was_whole = not state or state.endswith(" %s" % ROOT)
        if VENV_PYTHON.exists() and was_whole:
            STATE.write_text("updating %s" % ROOT, encoding="utf-8")
        else:
            make_environment(stage)
        install_packages(stage)
        STATE.write_text(unchecked, encoding="utf-8")
    check_opencv()
    STATE.write_text(wanted, encoding="utf-8")


def run(arguments):
    "Become the environment's Python: Ctrl-C reaches it alone, and it can end in its own way."
    command = [str(VENV_PYTHON)] + arguments
    os.chdir(str(ROOT))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") # errors only, no news about processors
    # Jupyter looks here first, so that notebooks get the kernel of .venv, whatever kernel python3
    # this user has registered.
    others = os.environ.get("JUPYTER_PATH", "").split(os.pathsep)
    paths = os.pathsep.join([str(VENV / "share" / "jupyter")] + others)
    os.environ["JUPYTER_PATH"] = paths.rstrip(os.pathsep)
    if os.name != "nt":
        os.execv(command[0], command)
    sys.exit(subprocess.call(command)) # Windows has no exec that keeps the terminal


def main():
    stage, arguments = "all", sys.argv[1:]
    if arguments[:1] == ["--for"]:
        stage, arguments = arguments[1], arguments[2:]
    try:
        set_up(stage)
    except SetupError as error:
        sys.exit("\n%s" % error)
    except KeyboardInterrupt:
        sys.exit("\nStopped before .venv was ready; the next call starts it again.")
    if arguments:
        run(arguments)


if __name__ == "__main__":
    main()
