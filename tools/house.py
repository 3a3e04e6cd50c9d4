"""The house: its notebooks and modules, floor by floor. Tools, site and tests ask here and nowhere
else.

    python tools/house.py        prints which modules each module imports
"""
import ast
from pathlib import Path

root = Path(__file__).resolve().parent.parent
# The order of the modules on each floor: a module imports only from those before it.
base = ("errors", "formats", "files", "opencv", "decoding", "photo_files", "films", "masks",
        "storage", "work", "annotations", "pairs", "network", "looks", "backend", "backbones",
        "optimizers", "runs", "export", "distribution", "figures")
lessons = ("images", "metrics", "classical", "data_prep", "generator", "model", "training",
           "visualization", "removal", "fine_tuning")
tool = ("photos", "remove", "folders", "download", "packed", "video", "server", "paintings",
        "layouts", "own_data", "drafts", "cli")
modules = (*(f"base.{name}" for name in base), *lessons, *(f"tool.{name}" for name in tool))


def module_path(name: str) -> Path: # such as "base.files"
    "The file of a module, exported from a notebook."
    return root / f"bg_remover/{name.replace('.', '/')}.py"


def lesson_notebooks() -> list[Path]:
    "The lessons, in the order of their numbers."
    return sorted((root / "nbs").glob("[0-9]*.ipynb"))


def floor_notebooks(floor: str) -> list[Path]: # "base", "tool" or "scale"
    "The notebooks of another floor, in the order of their modules."
    order = {"base": base, "tool": tool}.get(floor, ())
    place = {name: number for number, name in enumerate(order)}
    return sorted((root / f"nbs/{floor}").glob("*.ipynb"),
                  key=lambda path: (place.get(path.stem, len(place)), path.name))


def notebooks() -> list[Path]:
    "All notebooks but the solutions: home, lessons, tool, base, scale."
    others = [path for floor in ("tool", "base", "scale") for path in floor_notebooks(floor)]
    return [root / "nbs/index.ipynb", *lesson_notebooks(), *others]


def solutions() -> list[Path]:
    "The exercises solved."
    return sorted((root / "nbs/solutions").glob("*.ipynb"))


def imported_modules(name: str) -> list[str]: # in the order of the house
    "The modules of the package that one of its modules imports, at any depth of its code."
    found, here = set(), ["bg_remover", *name.split(".")]
    for node in ast.walk(ast.parse(module_path(name).read_text(encoding="utf-8"))):
        if not isinstance(node, (ast.Import, ast.ImportFrom)): continue
        above = here[:len(here) - node.level] if getattr(node, "level", 0) else []
        start = [*above, *((getattr(node, "module", None) or "").split("."))]
        ends = [".".join(filter(None, start)),
                *(".".join([*filter(None, start), alias.name]) for alias in node.names)]
        found |= {end.removeprefix("bg_remover.") for end in ends}
    return [module for module in modules if module in found]


def main():
    for floor in ("base", "lessons", "tool"):
        print(floor)
        for name in modules:
            if name.startswith(f"{floor}.") or floor == "lessons" and "." not in name:
                print(f"    {name} → {', '.join(imported_modules(name)) or 'nothing'}")


if __name__ == "__main__":
    main()
