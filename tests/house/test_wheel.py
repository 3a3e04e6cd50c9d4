"""The bare wheel, in a new environment outside the repository, without the learner's packages and
with the network closed.

The quick test fills the environment with the files of the packages that the wheel asks for (and of
those these ask for), taken from the environment the tests run in: that is what pip would install,
without a network. The slow one lets pip do it.
"""
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

root = Path(__file__).resolve().parents[2]
cut_a_photo = """
import importlib.util, socket, sys
from pathlib import Path

def refuse(*arguments, **keywords): raise AssertionError("the network was asked for something")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse

from bg_remover.images import read_image, write_image
from bg_remover.tool.photos import cut_photo
from bg_remover.removal import Remover
import bg_remover

photo = read_image(sys.argv[1])
remover = Remover()
assert cut_photo(sys.argv[1], remover, "webp").data.startswith(b"RIFF")
cutout = remover.cutout(photo)
write_image("cutout.png", cutout)
assert cutout.dtype == "uint8" and cutout.shape == (*photo.shape[:2], 4), cutout.shape
assert cutout[..., 3].min() == 0 and cutout[..., 3].max() == 255
assert Path(bg_remover.__file__).is_relative_to(sys.prefix), bg_remover.__file__
absent = ["tensorflow", "keras", "segmentation_models", "matplotlib", "pycocotools", "nbdev", "pip"]
print([name for name in absent if importlib.util.find_spec(name)])
"""


def pip(*arguments):
    return subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check",
                           *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built by way of the source archive, from a copy, so that nothing is left in
    the repository and nothing old gets in."""
    source = tmp_path_factory.mktemp("source") / "a copy"
    source.mkdir()
    for name in ("settings.ini", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md",
                 "LICENSE", "constraints.txt", "CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(root / name, source)
    shutil.copytree(root / "bg_remover", source / "bg_remover",
                    ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path_factory.mktemp("wheel")
    built = subprocess.run([sys.executable, "-m", "build", "--no-isolation", "-o", out, source],
                           capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(out.glob("*.whl"))


@pytest.fixture
def environment(tmp_path) -> Path:
    "The Python of a new environment without pip."
    venv.create(tmp_path / "new environment", with_pip=False)
    return next(path
                for path in (tmp_path / "new environment/bin/python",
                             tmp_path / "new environment/Scripts/python.exe") if path.exists())


def needed(name: str, found: dict[str, Distribution]):
    "Collect a package and all that it asks for, as pip would."
    if name in found: return
    found[name] = distribution(name)
    for line in found[name].requires or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            needed(requirement.name, found)


def link_package(package: Distribution, site_packages: Path):
    """Give an environment the files of a package: linked where the file system can, copied
    elsewhere."""
    for file in package.files:
        if ".." in file.parts or file.suffix == ".pyc": continue # scripts
        target = site_packages / file
        target.parent.mkdir(parents=True, exist_ok=True)
        try: os.link(file.locate(), target)
        except OSError: shutil.copy(file.locate(), target)


def cut(python: Path, folder: Path):
    "Run the script above with an environment's Python, away from the repository."
    photo = shutil.copy(sorted((root / "nbs/samples/mini_coco/val2017").glob("*.jpg"))[0],
                        folder / "photo.jpg")
    (folder / "cut.py").write_text(cut_a_photo)
    done = subprocess.run([python, "-I", "cut.py", photo], cwd=folder, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]" and (folder / "cutout.png").stat().st_size > 1000
    command = next(python.parent.glob("bg-remover*"))
    done = subprocess.run([command, "remove", photo, "by-command.png"], cwd=folder,
                          capture_output=True, text=True)
    assert done.returncode == 0 and (folder / "by-command.png").stat().st_size > 1000, done.stderr
    done = subprocess.run([command, "train", "mine", "run"], cwd=folder, capture_output=True,
                          text=True)
    assert done.returncode == 1 and 'pip install "bg-remover[learn]"' in done.stderr, done.stderr


def test_wheel_holds_the_model_and_nothing_strange(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {path.relative_to(root).as_posix() for folder in ("weights", "figures")
            for path in (root / "bg_remover" / folder).iterdir()} <= set(names)
    assert "bg_remover/weights/person.onnx" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"bg_remover"}
    assert wheel.stat().st_size < 25e6


def test_wheel_cuts_a_photo_without_network(wheel, environment, tmp_path):
    asked = subprocess.run([environment, "-c", "import sysconfig; "
                            "print(sysconfig.get_paths()['purelib'])"], capture_output=True,
                           text=True, check=True)
    site_packages = Path(asked.stdout.strip())
    installed = pip("--python", environment, "install", "--no-index", "--no-deps", wheel)
    assert installed.returncode == 0, installed.stderr
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(archive.read(name).decode() for name in archive.namelist()
                        if name.endswith("METADATA"))
    packages = {}
    for line in metadata.splitlines():
        if not line.startswith("Requires-Dist: "): continue
        requirement = Requirement(line.removeprefix("Requires-Dist: "))
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            needed(requirement.name, packages)
    assert packages
    for package in packages.values(): link_package(package, site_packages)
    checked = pip("--python", environment, "check")
    assert checked.returncode == 0, checked.stdout
    cut(environment, tmp_path)


@pytest.mark.slow
def test_wheel_installed_by_pip(wheel, environment, tmp_path):
    installed = pip("--python", environment, "install", "-c", root / "constraints.txt", wheel)
    assert installed.returncode == 0, installed.stderr
    cut(environment, tmp_path)
