"""The house in order: metadata agree, modules come from the notebooks, imports go one way,
nothing is too large or names an address."""
import ast
import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import house
from bg_remover import __version__
from lessons import longest_line

root = Path(__file__).resolve().parents[2]
package, notebooks, solutions = root / "bg_remover", house.notebooks(), house.solutions()
modules = {name: house.module_path(name) for name in house.modules}
# What a plain install runs, without the packages that only learners need.
plain = ("base.errors", "base.formats", "base.files", "base.opencv", "base.decoding",
         "base.photo_files", "base.storage", "base.work", "base.network", "base.looks", "images",
         "removal", "tool.photos", "tool.folders")
scripts = ("benchmarks", "recipes", "examples", "tests", "docs", "tools")
extras = ("demo", "learn", "heic", "video", "server", "scale", "dev", "docs")


def read(path: Path) -> str: return path.read_text(encoding="utf-8")


def load(path: Path):
    "A script of the project as a module."
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def settings():
    config = ConfigParser(delimiters=["="], interpolation=None)
    config.read(root / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


@pytest.fixture(scope="module")
def pyproject(): return tomllib.loads(read(root / "pyproject.toml"))


def required(settings, *keys) -> dict[str, Requirement]:
    "The requirements under some keys of settings.ini, by name."
    found = [Requirement(line) for key in keys for line in settings[key].split("\n")[1:]]
    return {canonicalize_name(each.name): each for each in found}


def run_nbdev(code: str, folder: Path):
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr


# Metadata

def test_the_command_is_a_function_that_is_there(settings):
    name, target = settings["console_scripts"].split("=")
    module, function = target.split(":")
    assert name == settings["lib_name"]
    assert f"\ndef {function}(" in read(root / f"{module.replace('.', '/')}.py")


def test_settings_and_pyproject_agree(settings, pyproject):
    assert pyproject["project"]["name"] == settings["lib_name"]
    project, nbdev = pyproject["project"], dict(pyproject["tool"]["nbdev"])
    pythons = f">={settings['min_python']},<{settings['below_python']}"
    assert SpecifierSet(project["requires-python"]) == SpecifierSet(pythons)
    assert project["description"] == settings["description"]
    assert project["authors"][0]["name"] == settings["author"]
    assert ", ".join(project["keywords"]) == settings["keywords"]
    assert project.get("urls", {}).get("Repository", "") == settings["address"], "run make address"
    assert nbdev.pop("requirements") == [line for line in settings["requirements"].split("\n")[1:]
                                         if not line.startswith("#")]
    for key, value in nbdev.items():
        assert str(value).lower() == settings[key].lower(), key


def test_the_version_stands_in_one_place(settings):
    assert "version" not in settings and __version__ in read(root / "CHANGELOG.md")


def test_nbdev_knows_the_project_and_changes_the_version_where_it_stands(tmp_path, settings):
    copy_sources(tmp_path)
    (tmp_path / "bg_remover").mkdir()
    shutil.copy(package / "__init__.py", tmp_path / "bg_remover")
    run_nbdev("from nbdev.config import get_config; c = get_config(); assert c.description and "
              "c.author and c.keywords and c.lib_name == 'bg-remover'", tmp_path)
    run_nbdev("from nbdev.release import nbdev_bump_version; nbdev_bump_version(part=2)", tmp_path)
    major, minor, patch = __version__.split(".")
    bumped = f'__version__ = "{major}.{minor}.{int(patch) + 1}"'
    assert bumped in read(tmp_path / "bg_remover/__init__.py")
    run_nbdev("from nbdev.release import write_requirements; write_requirements()", tmp_path)
    wanted = [line for line in settings["requirements"].split("\n")[1:] if not line.startswith("#")]
    assert (tmp_path / "requirements.txt").read_text().split("\n")[:len(wanted)] == wanted


def test_constraints_pin_every_requirement(settings):
    lines = [line for line in read(root / "constraints.txt").splitlines()
             if not line.startswith("#")]
    pinned = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}
    for name, requirement in required(settings, "requirements",
                                      *[f"{extra}_requirements" for extra in extras]).items():
        version = pinned[name]
        assert requirement.specifier.contains(version), f"{requirement} and {name}=={version}"


def test_every_supported_python_is_tried(settings):
    workflow = read(root / ".github/workflows/test.yml")
    least, below = (int(settings[key].split(".")[1]) for key in ("min_python", "below_python"))
    assert set(re.findall(r'"3\.(\d+)"', workflow)) == {str(minor) for minor in range(least, below)}


# Imports

def imported(path: Path) -> set[str]:
    "The modules that a file imports, at any depth, with full names."
    found, here = set(), path.relative_to(root).with_suffix("").parts
    floors = ("bg_remover", "bg_remover.base", "bg_remover.tool") # modules are imported from these
    for node in ast.walk(ast.parse(code_of(path))):
        if isinstance(node, ast.Import): found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            parent = ".".join([*here[:len(here) - node.level] * bool(node.level),
                               *([node.module] if node.module else [])])
            inside = {f"{parent}.{alias.name}" for alias in node.names}
            found |= inside if parent in floors else {parent}
    return found


def project_imports(path: Path) -> set[str]:
    names = [name.removeprefix("bg_remover.") for name in imported(path)
             if name.startswith("bg_remover.")]
    return {name if name in modules else name.rpartition(".")[0] or name
            for name in names} - {"__version__"}


def test_every_module_has_its_place():
    found = {".".join(path.relative_to(package).with_suffix("").parts)
             for path in package.rglob("*.py") if not path.name.startswith("_")}
    assert found == set(house.modules), "tools/house.py names the modules and their order"


def test_the_guide_for_contributors_names_the_floors_in_their_order():
    guide = read(root / "CONTRIBUTING.md")
    for floor in (house.base, house.tool): assert f"| {', '.join(floor)} |" in guide


@pytest.mark.parametrize("name", house.modules)
def test_no_module_imports_from_a_floor_above_or_from_later_on_its_own(name):
    later = project_imports(modules[name]) - set(house.modules[:house.modules.index(name)])
    assert not later, (f"{name} imports {', '.join(sorted(later))}; base imports from base, "
                       "lessons from base and earlier lessons, tool from all")


@pytest.mark.parametrize("name", plain)
def test_a_plain_install_runs_without_the_learners_modules(name):
    assert project_imports(modules[name]) <= set(plain)


@pytest.mark.parametrize("name", [name for name in house.modules if "." in name])
def test_opencv_is_loaded_where_its_errors_are_explained(name):
    assert "cv2" not in imported(modules[name]) or name == "base.opencv", (
        "from bg_remover.base.opencv import cv2")


def test_folders_start_without_the_learners_packages():
    heavy = ["tensorflow", "keras", "segmentation_models", "matplotlib", "pycocotools", "nbdev",
             "fastcore", "IPython", "fsspec", "upath", "distributed"]
    code = ("import sys, bg_remover.tool.folders; "
            f"print([name for name in {heavy} if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=root).stdout.strip() == "[]"


def code_of(path: Path) -> str:
    "The code of a file, or of a notebook's cells without magics."
    if path.suffix != ".ipynb": return read(path)
    cells = json.loads(read(path))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return re.sub(r"^[%!].*$", "", code, flags=re.M)


@functools.cache
def installed_packages() -> dict[str, list[str]]: return packages_distributions()


def foreign_imports(path: Path) -> set[str]:
    """The installed packages that a file imports, under the names pip knows; an unknown one
    keeps its own name."""
    known = installed_packages()
    tops = {name.split(".")[0] for name in imported(path)
            if name} - sys.stdlib_module_names - {"bg_remover"}
    tops -= {each.stem for folder in scripts for each in (root / folder).rglob("*.py")}
    return {canonicalize_name(known.get(top, [top])[0]) for top in tops}


@pytest.mark.parametrize("name", plain)
def test_plain_install_brings_what_it_runs(name, settings):
    # without them, what needs them is refused
    needed = foreign_imports(modules[name]) - {"pillow-heif", "universal-pathlib"}
    assert needed <= set(required(settings, "requirements"))


def test_every_import_is_declared(settings):
    runtime_and_learn = set(required(settings, "requirements", "learn_requirements",
                                     "heic_requirements", "video_requirements",
                                     "server_requirements", "scale_requirements"))
    everything = set(required(settings, "requirements",
                              *[f"{extra}_requirements" for extra in extras]))
    everything |= {canonicalize_name(Requirement(line).name) for name in everything
                   for line in requires(name) or [] if "extra ==" not in line}
    for path in [*modules.values(), *notebooks, *solutions]:
        assert foreign_imports(path) <= runtime_and_learn, path.name
    for path in [path for folder in scripts for path in (root / folder).rglob("*.py")]:
        assert foreign_imports(path) <= everything, path.name


# Notebooks and what is made from them

def copy_sources(folder: Path):
    """What nbdev needs to work elsewhere: its settings and the notebooks, without samples and
    outputs."""
    for name in ("pyproject.toml", "settings.ini"): shutil.copy(root / name, folder)
    for path in [*notebooks, *solutions]:
        (folder / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.relative_to(root))


def test_modules_are_exported_from_the_notebooks(tmp_path):
    copy_sources(tmp_path)
    (tmp_path / "bg_remover").mkdir()
    for name in ("__init__.py", "__main__.py"): shutil.copy(package / name, tmp_path / "bg_remover")
    run_nbdev("from nbdev.doclinks import nbdev_export; nbdev_export()", tmp_path)
    ours, exported = ({path.relative_to(place).as_posix(): read(path)
                       for path in (place / "bg_remover").rglob("*.py")}
                      for place in (root, tmp_path))
    assert sorted(ours) == sorted(exported), ("a module without a notebook, or one not exported "
                                              "yet: run nbdev-export")
    differ = [name for name in ours if ours[name] != exported[name]]
    assert not differ, "not what the notebooks export: run nbdev-export"


def test_notebooks_are_clean(tmp_path):
    copy_sources(tmp_path)
    run_nbdev("from nbdev.clean import nbdev_clean; nbdev_clean()", tmp_path)
    dirty = [str(path.relative_to(root)) for path in [*notebooks, *solutions]
             if (tmp_path / path.relative_to(root)).read_bytes() != path.read_bytes()]
    assert not dirty, "run nbdev-clean"


def test_readme_is_rendered_from_index():
    rendered = load(root / "tools/readme.py").render(root / "nbs/index.ipynb")
    assert read(root / "README.md") == rendered, "run make readme"


# The public address

def test_no_address_but_in_the_setting(settings, project_files):
    hosts = [r"(github|gitlab|bitbucket|codeberg)\.(com|org)[/:][\w.-]+/bg[_-]remover",
             r"colab\.research\.google\.com/github"]
    ours = [re.escape(settings["address"])] if settings["address"] else []
    forbidden = re.compile("|".join([*hosts, *ours]))
    address, named = load(root / "tools/address.py"), []
    for path in project_files:
        if path.name in ("address.py", "test_project.py", "settings.ini", "pyproject.toml"):
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        if path.suffix == ".ipynb":
            text = json.dumps(address.with_address(json.loads(text), "", path.name))
        if forbidden.search(text): named.append(path.relative_to(root))
    assert not named


def test_badges_come_and_go():
    address = load(root / "tools/address.py")
    link = address.colab_link("https://github.com/owner/name", "01_images.ipynb")
    cells = lambda text: {"cells": [{"source": text}]}
    with_link = address.with_badge(cells("# Images\n\n> Photos."), link)
    assert with_link["cells"][0]["source"].endswith(
        "(https://colab.research.google.com/github/owner/name/blob/main/nbs/01_images.ipynb)")
    assert address.with_badge(with_link, link) == with_link
    assert address.with_badge(with_link, "") == cells("# Images\n\n> Photos.")
    with pytest.raises(ValueError, match="settings.ini"):
        address.colab_link("owner/name", "01_images.ipynb")


def test_notebooks_are_as_the_setting_says(settings):
    address = load(root / "tools/address.py")
    for path in [*notebooks, *solutions]:
        before = json.loads(read(path))
        name = path.relative_to(root / "nbs").as_posix()
        after = address.with_address(json.loads(read(path)),
                                     "" if path.stem == "index" else settings["address"], name)
        sources = [["".join(cell["source"]) for cell in notebook["cells"]]
                   for notebook in (before, after)]
        assert sources[0] == sources[1], f"{name}: run make address"


def write_address(project: Path, address: str):
    "Put an address into the settings of a copy of the project, and from there everywhere."
    settings = re.sub(r"^address *=.*$", f"address = {address}", read(project / "settings.ini"),
                      flags=re.M)
    (project / "settings.ini").write_text(settings, encoding="utf-8")
    load(project / "tools/address.py").main()


def test_the_address_comes_and_goes(tmp_path):
    (tmp_path / "tools").mkdir()
    shutil.copy(root / "tools/address.py", tmp_path / "tools")
    copy_sources(tmp_path)
    write_address(tmp_path, "")
    before = {path: path.read_bytes() for path in (tmp_path / "nbs").rglob("*.ipynb")}
    def written():
        return {path: json.loads(read(path))["cells"] for path in before if path.stem != "index"}
    for _ in range(2):
        write_address(tmp_path, "https://github.com/owner/name")
        assert all([cell["id"] for cell in cells].index("colab") == 1
                   and "".join(cells[1]["source"]).count("https://github.com/owner/name") == 1
                   for cells in written().values())
    with_it = written()
    run_nbdev("from nbdev.clean import nbdev_clean; nbdev_clean()", tmp_path)
    assert written() == with_it, "nbdev-clean changes what was written"
    write_address(tmp_path, "")
    assert {path: path.read_bytes() for path in before} == before


def commit_project(folder: Path):
    "A repository with what the first cell of a notebook looks for."
    for part in ("nbs/samples", "nbs/solutions"): (folder / part).mkdir(parents=True)
    for file in ("nbs/samples/photo.jpg", "nbs/solutions/01_images.ipynb"): (folder / file).touch()
    git = ["git", "-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for line in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *line], cwd=folder, check=True)


def colab(folder: Path, address: str, repository: Path) -> dict[str, str]: # environment variables
    "A machine whose git finds the address in a folder, and whose pip only notes what it is asked."
    pip = folder / "bin/pip"
    pip.parent.mkdir()
    pip.write_text('#!/bin/sh\necho "$*" >> "$ASKED"\n')
    pip.chmod(0o755)
    return {**os.environ, "PATH": f"{pip.parent}{os.pathsep}{os.environ['PATH']}",
            "ASKED": str(folder / "asked"), "IPYTHONDIR": str(folder), "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": address}


# runs a cell, says where that leads, and once more after a restart
run_twice = """
import os, sys
from IPython.core.interactiveshell import InteractiveShell
content, cell = sys.argv[1:]
for run in range(2): # the second is a restarted kernel, which finds the package
    sys.modules.pop('bg_remover', None)
    if run == 0: sys.modules['bg_remover'] = None # as if it were not installed
    os.chdir(content)
    InteractiveShell.instance().run_cell(cell).raise_error()
    print(os.getcwd())"""


@pytest.mark.parametrize("name", ["01_images.ipynb", "solutions/01_images.ipynb"])
def test_in_colab_the_first_cell_brings_package_and_samples(name, tmp_path):
    "On a machine without bg_remover; the address is made up, and pip installs nothing."
    if not shutil.which("git"): pytest.skip("needs git")
    address, content = "https://github.com/owner/name", tmp_path / "content"
    commit_project(tmp_path / "made up")
    content.mkdir()
    title = {"cells": [{"source": "# Title"}]}
    notebook = load(root / "tools/address.py").with_address(title, address, name)
    cell = notebook["cells"][1]["source"]
    done = subprocess.run([sys.executable, "-c", run_twice, str(content), cell], cwd=content,
                          env=colab(tmp_path, address, tmp_path / "made up"),
                          capture_output=True, text=True, check=True)
    place = str((content / "lessons/nbs" / name).parent)
    assert done.stdout.split("\n")[-3:-1] == [place, place]
    assert (content / "lessons/nbs/samples/photo.jpg").exists()
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == ["install -q ./lessons[learn,scale]"], "once, not again after the restart"


# Sizes

def test_code_lines_are_short(project_files):
    "What nbdev exports is left out: the notebook has it too, and nbdev writes `__all__`."
    exported = set(package.rglob("*.py"))
    long = [f"{path.relative_to(root)}: {line}" for path in project_files
            if path.suffix in (".py", ".js", ".css", ".ipynb") and path not in exported
            for line in code_of(path).splitlines() if len(line) > longest_line]
    assert not long, f"more than {longest_line} characters; name a part of it"


def megabytes(paths) -> float: return sum(path.stat().st_size for path in paths) / 1e6


def test_sizes(project_files):
    samples = [path for path in project_files if path.is_relative_to(root / "nbs/samples")]
    assert samples and megabytes(samples) <= 4
    weights = [path for path in project_files if path.is_relative_to(package / "weights")]
    assert weights and all(megabytes([path]) <= 16 for path in weights)
    assert not [path.name for path in project_files if megabytes([path]) > 16]


def test_the_container_copies_what_is_there_and_runs_without_root():
    lines = [line for line in (root / "Dockerfile").read_text().splitlines() if line]
    copied = [name for line in lines if line.startswith("COPY") and "--from" not in line
              for name in line.split()[1:-1]]
    assert "constraints.txt" in copied and all((root / name).exists() for name in copied)
    start = lines.index(next(line for line in lines if line.startswith("ENTRYPOINT")))
    assert any(line == "USER server" for line in lines[:start])
