"""Build the site: one page per notebook, as it is stored, and a reference of the package. `make
docs` calls this.

    python docs/build.py [FOLDER]

FOLDER is docs/_build unless given; the site is in its html/. No notebook is executed and nothing is
fetched. The page "Try it" is made where docs/fetch.py has found what it runs on. A warning is an
error.
"""
import ast
import json
import os
import re
import shutil
import sys
from pathlib import Path
from string import Template

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from fastcore.nbio import read_nb, write_nb
from nbdev.processors import FilterDefaults
from nbdev.process import NBProcessor
from sphinx.cmd.build import build_main

docs = Path(__file__).resolve().parent
root = docs.parent
sys.path.append(str(docs))
sys.path.append(str(root / "tools"))
import house
from bg_remover.base.figures import figure_source, mime_type
from fetch import is_fetched, packages
from measured import write_measured

# Files of the repository that are pages of their own, and those pages.
texts = {"bg_remover/weights/MODEL_CARD.md": "model_card.md", "CONTRIBUTING.md": "contributing.md",
         "CHANGELOG.md": "changelog.md"}
button = ('<a class="home-button" href="try_it.html">'
          "Try it on your own photo, here in the browser</a>")
help_pages = [root / f"nbs/help/{name}.md"
              for name in ("glossary", "cheat_sheet", "troubleshooting", "other_tools")]
runtime = ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"]
sample = "val2017/000000343937.jpg"
# megapixels of a photo that the page "Try it" takes; 4 GB are the most that a page may use
largest = 25
# nbdev puts a signature in the place of exported code and runs the imports to get it. A learner
# wants the code itself.
not_wanted = {"add_show_docs", "exec_show_docs", "rm_export", "mv_exports", "add_fold",
              "insert_warning", "add_links", "FrontmatterProc"}


# name → where it lives, as in {"iou": "bg_remover.metrics.iou"}
def exported_names(package: Path) -> dict[str, str]:
    "The public functions and classes of the package."
    # a lesson's name wins
    trees = {name: ast.parse((package / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8"))
             for name in house.modules[::-1]}
    return {node.name: f"{package.name}.{module}.{node.name}" for module, tree in trees.items()
            for node in tree.body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")}


def link_names(text: str, names: dict[str, str]) -> str:
    "Make each `name` of the package in a prose cell a link into the reference."
    parts = re.split(r"(^```.*?^```|\[[^\]]*\]\([^)]*\)|^#.*?$)", text, flags=re.M | re.S)
    def link(found: re.Match) -> str:
        name = found[1]
        return f"{{py:obj}}`{name} <{names[name]}>`" if name in names else found[0]
    return "".join(part if i % 2 else re.sub(r"(?<![`}\w])`(\w+)`(?!`)", link, part)
                   for i, part in enumerate(parts))


def describe(prose: str) -> str:
    "The last sentence before a picture, as the picture's text for those who cannot see it."
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"[`*#>$]|\{[^}]*\}", "", prose))
    sentences = re.split(r"(?<=[.!?:])\s+", " ".join(plain.split()))
    return sentences[-1][:200] if prose.strip() else "Output of the cell above"


def only_imports(source: str) -> bool:
    """Whether a cell holds imports and nothing else a reader has to see; its directives and
    magics do not count."""
    try: body = ast.parse(re.sub(r"^\s*[%!].*$", "", source, flags=re.M)).body
    except SyntaxError: return False
    return bool(body) and all(isinstance(node, (ast.Import, ast.ImportFrom, ast.Try))
                              for node in body)


def is_folded(source: str) -> bool:
    "Whether the page folds a cell away: what asks for it in its first line, and imports."
    return bool(re.match(r"#\|\s*code-fold:\s*true\b", source)) or only_imports(source)


def with_figures(outputs: list) -> list:
    """Before the still picture of each live figure, the place where docs/_static/figures.js draws
    it, with its code and data."""
    placed = []
    for output in outputs:
        figure = output.get("data", {}).pop(mime_type, None)
        if figure:
            text = json.dumps({**figure, "source": figure_source(figure["name"])})
            escaped = text.replace("<", "\\u003c") # no tag may end the script
            html = (f'<div class="live-figure-place" data-figure="{figure["name"]}">'
                    f'<script type="application/json">{escaped}</script></div>')
            placed.append({"output_type": "display_data", "metadata": {},
                           "data": {"text/html": html}})
        placed.append(output)
    return placed


def tags_of(cell) -> list[str]: # as docs/conf.py and MyST-NB know them
    "What the page makes of a code cell that has its directives still."
    exported = re.search(r"^#\|\s*exports?\b", cell.source, re.M)
    return ["exported"] * bool(exported) + ["hide-input"] * is_folded(cell.source)


def without_hidden(notebook) -> dict[str, list[str]]: # id of each code cell → its tags
    "Take away what nbdev hides, and its directives."
    tags = {cell["id"]: tags_of(cell) for cell in notebook.cells if cell.cell_type == "code"}
    notebook.cells = [cell for cell in notebook.cells
                      if not re.search(r"^#\|\s*default_exp\b", cell.source, re.M)]
    processors = [each for each in FilterDefaults().base_procs() if each.__name__ not in not_wanted]
    NBProcessor(nb=notebook, procs=processors, rm_directives=True).process()
    return tags


def show_code(cell, tags: list[str], prose: str):
    "Make a code cell one of the page; its pictures are described by the prose before it."
    cell.source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M).strip()
    cell.outputs = with_figures(cell.outputs)
    label = "Imports" if only_imports(cell.source) else "Code"
    cell.metadata = {"mystnb": {"image": {"alt": describe(prose)},
                                "code_prompt_show": label, "code_prompt_hide": label},
                     "tags": tags}


def add_ways_on(notebook, source: Path, footer: str):
    "The home page gets its button and the menu, any other page a link to its notebook."
    first = notebook.cells[0]
    if footer and is_fetched():
        first.source = first.source.replace("\n\n![", f"\n\n{button}\n\n![", 1)
    if footer:
        notebook.cells.append({"cell_type": "markdown", "metadata": {}, "source": footer,
                               "id": "contents"})
    # reached from their lessons, not from the contents
    elif source.parent.name == "solutions": notebook.metadata["orphan"] = True
    else:
        up = "../" * (len(source.relative_to(root / "nbs").parts) - 1)
        first.source += (f"\n\n{{download}}`Download this notebook <{up}notebooks/{source.name}>`")


def write_page(source: Path, page: Path, names: dict[str, str], footer: str = ""):
    """Turn a notebook into a page: nbdev's hidden cells and directives go, code, prose and
    stored outputs stay."""
    notebook, prose = read_nb(source), ""
    tags = without_hidden(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            if cell.source.strip(): prose = cell.source
            cell.source = re.sub(r"\]\((\.\./[^)#\s]+)", copy_file(source.parent, page.parent),
                                 link_names(cell.source, names))
        elif cell.cell_type == "code": show_code(cell, tags[cell["id"]], prose)
    add_ways_on(notebook, source, footer)
    write_nb(notebook, page)


def copy_file(here: Path, page_folder: Path):
    """A replacement for links to files outside nbs: the file's page, or the file, copied beside
    the pages."""
    pages = page_folder
    for _ in here.relative_to(root / "nbs").parts: pages = pages.parent
    def replace(found):
        file = (here / found[1]).resolve()
        if file.is_relative_to(root / "nbs"): return found[0] # another notebook
        name = file.relative_to(root).as_posix()
        up = "../" * len(here.relative_to(root / "nbs").parts)
        if name in texts: return f"]({up}{texts[name]}"
        if not file.is_file():
            sys.exit(f"a notebook links to {found[1]}, which is no file of the project; correct "
                     "the link")
        (pages / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, pages / "files" / name)
        return f"]({up}files/{name}"
    return replace


def write_reference(pages: Path, package: Path) -> list[str]:
    "One page for each module; autodoc and conf.py fill it."
    (pages / "api").mkdir()
    for module in house.modules:
        name = f"{package.name}.{module}"
        text = f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n"
        (pages / f"api/{module}.rst").write_text(text, encoding="utf-8")
    return [f"api/{module}" for module in house.modules]


def write_texts(pages: Path):
    """The pages that are files of the repository, with their links to notebooks; names of the
    package stay as they are."""
    for file, page in texts.items():
        (pages / page).write_text((root / file).read_text(encoding="utf-8").replace("](nbs/", "]("),
                                  encoding="utf-8")
    (pages / "notebooks").mkdir()
    for path in house.notebooks()[1:]: shutil.copy(path, pages / "notebooks")


def size_of(files: list[Path]) -> str:
    return f"{sum(path.stat().st_size for path in files) / 1e6:.0f}"


def write_try_it(pages: Path, extra: Path):
    "The page that removes backgrounds in the browser, and in `extra` all that it loads."
    import onnx # slow to import, and no other page needs it
    from page_model import page_model, shipped_model
    shutil.copytree(docs / "try_it", extra / "try_it", ignore=shutil.ignore_patterns("*.md"))
    for name in runtime: shutil.copy(packages / "onnxruntime-web/dist" / name, extra / "try_it")
    onnx.save(page_model(shipped_model()), extra / "try_it/cutout.onnx")
    shutil.copy(root / "nbs/samples/mini_coco" / sample, extra / "try_it/sample.jpg")
    authors = (root / "nbs/samples/mini_coco/ATTRIBUTION.md").read_text(encoding="utf-8")
    row = re.search(rf"\| {re.escape(sample)} \| (.*?) \| (.*?) \|", authors)
    licence, source = row.groups()
    fetched = [extra / "try_it" / name for name in (*runtime, "cutout.onnx")]
    page = Template((docs / "try_it/page.md").read_text(encoding="utf-8"))
    text = page.substitute(megapixels=largest, megabytes=size_of(fetched),
                           credit=f"[source]({source}), {licence}, made smaller")
    (pages / "try_it.md").write_text(text, encoding="utf-8")


def mend(html: str) -> str:
    """Faults of the theme and of Sphinx that screen readers stumble over: a heading without a
    level, a list of definitions that define nothing, a wrong label."""
    caption = '<p class="caption" role="heading"'
    html = html.replace(f"{caption}>", f'{caption} aria-level="2">')
    # a live figure's still picture stands in its place until it starts
    html = re.sub(r'(<div class="live-figure-place"(?:(?!</script>).)*</script>)</div>\s*</div>\s*'
                  r"(<img [^>]*>)", r"\1\2</div></div>", html, flags=re.S)
    html = html.replace(' aria-label="Toggle hidden content"', "") # it says what it holds
    def as_list(found: re.Match) -> str:
        items = found[1].replace("<dd>", "<li>").replace("</dd>", "</li>")
        return f'<ul class="parameters">{items}</ul>'
    return re.sub(r"<dl>((?:\s*<dd><em class=\"sig-param\">.*?</dd>)+\s*)</dl>", as_list, html,
                  flags=re.S)


def toctree(caption: str, entries: list[str]) -> str:
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```", ""])


def pages_of(paths: list[Path]) -> list[str]:
    "The entries of some notebooks and texts in the menu; a lesson with its number and its title."
    def entry(path: Path) -> str:
        page = path.relative_to(root / "nbs").with_suffix("").as_posix()
        number = re.match(r"\d+", path.stem)
        if not number: return page
        title = read_nb(path).cells[0].source.splitlines()[0].removeprefix("# ")
        return f"{int(number[0])} · {title} <{page}>"
    return [entry(path) for path in paths]


def write_pages(pages: Path, extra: Path):
    "All pages as Sphinx reads them."
    package = root / "bg_remover"
    names = exported_names(package)
    write_texts(pages)
    write_measured(pages)
    if is_fetched(): write_try_it(pages, extra)
    menu = {"Use it": ["try_it"] if is_fetched() else [],
            "Lessons": pages_of(house.lesson_notebooks()),
            "Help": pages_of(help_pages),
            "The tool": pages_of(house.floor_notebooks("tool")),
            "Behind it": pages_of(house.floor_notebooks("base")),
            "Scale": pages_of(house.floor_notebooks("scale")),
            "Reference": write_reference(pages, package),
            "About": ["measurements", *[page.removesuffix(".md") for page in texts.values()]]}
    for path in [*house.notebooks()[1:], *house.solutions()]:
        write_page(path, pages / path.relative_to(root / "nbs"), names)
    write_page(root / "nbs/index.ipynb", pages / "index.ipynb", names,
               footer="\n".join(toctree(*each) for each in menu.items() if each[1]))


def main(out: Path) -> int:
    pages, html, extra = out / "source", out / "html", out / "extra"
    for made in ("source", "html", "extra", "doctrees"):
        shutil.rmtree(out / made, ignore_errors=True)
    shutil.copytree(root / "nbs", pages,
                    ignore=shutil.ignore_patterns("_work", ".*", "_quarto.yml", "nbdev.yml",
                                                  "*.ipynb"))
    write_pages(pages, extra)
    status = build_main(["-q", "-W", "--keep-going", "-b", "html", "-c", str(docs), "-d",
                         str(out / "doctrees"), str(pages), str(html)])
    if status: return status
    for page in html.rglob("*.html"):
        page.write_text(mend(page.read_text(encoding="utf-8")), encoding="utf-8")
    if is_fetched(): shutil.copytree(extra, html, dirs_exist_ok=True)
    print(f"{len(house.notebooks())} notebooks, {len(house.modules)} "
          f"modules{'' if is_fetched() else ', without the page Try it'}: {html / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else docs / "_build"))
