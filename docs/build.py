"""Build the site: one page per notebook, as it is stored, and a reference of the package. `make docs` calls this.

    python docs/build.py [FOLDER]        FOLDER is docs/_build unless given; the site is in its html/

Nothing is executed and nothing is fetched. A warning is an error.
"""
import ast
import os
import re
import shutil
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from fastcore.nbio import read_nb, write_nb
from nbdev.processors import FilterDefaults
from nbdev.process import NBProcessor
from sphinx.cmd.build import build_main

docs = Path(__file__).resolve().parent
root = docs.parent
sys.path.insert(0, str(root / "benchmarks"))
from claims import page as claims_page
# nbdev puts a signature in the place of exported code and runs the imports to get it. A learner wants the code itself.
not_wanted = {"add_show_docs", "exec_show_docs", "rm_export", "mv_exports", "add_fold", "insert_warning", "add_links", "FrontmatterProc"}


def exported_names(package: Path) -> dict[str, str]: # name → where it lives, as in {"iou": "bg_remover.metrics.iou"}
    "The public functions and classes of the package."
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in modules(package)}
    return {node.name: f"{package.name}.{module}.{node.name}" for module, tree in trees.items() for node in tree.body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")}


def lessons() -> list[Path]:
    "The numbered notebooks in the order in which the table of the index names them; what it leaves out comes last."
    index = "\n".join(cell.source for cell in read_nb(root / "nbs/index.ipynb").cells)
    order = re.findall(r"^\| \[(\w+)\]\(\1\.ipynb\)", index, re.M)
    place = {name: number for number, name in enumerate(order)}
    return sorted((root / "nbs").glob("[0-9]*.ipynb"), key=lambda path: (place.get(path.stem, len(place)), path.name))


def modules(package: Path) -> list[Path]:
    "The package's modules in the order of the notebooks they come from."
    order = [path.name for path in lessons()]
    def place(path):
        source = re.search(r"File to edit: \.\./nbs/(\S+\.ipynb)", path.read_text(encoding="utf-8"))
        return order.index(source.group(1)) if source else len(order)
    return sorted((path for path in package.glob("*.py") if not path.name.startswith("_")), key=lambda path: (place(path), path.name))


def link_names(text: str, names: dict[str, str]) -> str:
    "Make each `name` of the package in a prose cell a link into the reference."
    parts = re.split(r"(^```.*?^```|\[[^\]]*\]\([^)]*\)|^#.*?$)", text, flags=re.M | re.S)
    link = lambda found: f"{{py:obj}}`{found[1]} <{names[found[1]]}>`" if found[1] in names else found[0]
    return "".join(part if i % 2 else re.sub(r"(?<![`}\w])`(\w+)`(?!`)", link, part) for i, part in enumerate(parts))


def describe(prose: str) -> str:
    "The last sentence before a picture, as the picture's text for those who cannot see it."
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"[`*#>$]|\{[^}]*\}", "", prose))
    sentences = re.split(r"(?<=[.!?:])\s+", " ".join(plain.split()))
    return sentences[-1][:200] if prose.strip() else "Output of the cell above"


def write_page(source: Path, page: Path, names: dict[str, str], footer: str = ""):
    "Turn a notebook into a page: nbdev's hidden cells and directives go, code, prose and stored outputs stay."
    notebook = read_nb(source)
    exported = {cell["id"] for cell in notebook.cells if cell.cell_type == "code" and re.search(r"^#\|\s*exports?\b", cell.source, re.M)}
    notebook.cells = [cell for cell in notebook.cells if not re.search(r"^#\|\s*default_exp\b", cell.source, re.M)]
    processors = [each for each in FilterDefaults().base_procs() if each.__name__ not in not_wanted]
    NBProcessor(nb=notebook, procs=processors, rm_directives=True).process()
    prose = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            if cell.source.strip(): prose = cell.source
            cell.source = re.sub(r"\]\(\.\./([^)#\s]+)", copy_file(page.parent), link_names(cell.source, names))
        elif cell.cell_type == "code":
            cell.source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M).strip()
            cell.metadata = {"mystnb": {"image": {"alt": describe(prose)}}, "tags": ["exported"] if cell["id"] in exported else []}
    if footer: notebook.cells.append({"cell_type": "markdown", "metadata": {}, "source": footer, "id": "contents"})
    write_nb(notebook, page)


def copy_file(pages: Path):
    "A replacement for links to files of the repository outside nbs: the file is copied beside the pages."
    def replace(found):
        target = pages / "files" / found[1]
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (root / found[1]).is_file(): sys.exit(f"a notebook links to ../{found[1]}, which is no file of the project; correct the link")
        shutil.copy(root / found[1], target)
        return f"](files/{found[1]}"
    return replace


def write_reference(pages: Path, package: Path) -> list[str]:
    "One page for each module; autodoc and conf.py fill it."
    (pages / "api").mkdir()
    for path in modules(package):
        name = f"{package.name}.{path.stem}"
        (pages / f"api/{path.stem}.rst").write_text(f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n", encoding="utf-8")
    return [f"api/{path.stem}" for path in modules(package)]


def toctree(caption: str, entries: list[str]) -> str:
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```", ""])


def main(out: Path) -> int:
    pages, html = out / "source", out / "html"
    for made in ("source", "html", "doctrees"): shutil.rmtree(out / made, ignore_errors=True)
    shutil.copytree(root / "nbs", pages, ignore=shutil.ignore_patterns("_work", ".*", "_quarto.yml", "nbdev.yml", "*.ipynb"))
    package = root / "bg_remover"
    names, notebooks = exported_names(package), lessons()
    contents = toctree("Notebooks", [path.stem for path in notebooks]) + "\n" + toctree("Reference", [*write_reference(pages, package), "speed"])
    (pages / "speed.md").write_text(claims_page(), encoding="utf-8")
    for path in notebooks: write_page(path, pages / path.name, names)
    write_page(root / "nbs/index.ipynb", pages / "index.ipynb", names, footer=contents)
    shutil.copytree(docs / "_static", pages / "_static")
    status = build_main(["-q", "-W", "--keep-going", "-b", "html", "-c", str(docs), "-d", str(out / "doctrees"), str(pages), str(html)])
    if status == 0: print(f"{len(notebooks) + 1} notebooks, {len(modules(package))} modules: {html / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else docs / "_build"))
