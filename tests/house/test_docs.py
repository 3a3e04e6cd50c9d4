"""The site builds without a warning, holds every notebook as it is stored and every parameter's
comment, and asks nothing of the network."""
import ast
import csv
import html
import importlib
import importlib.util
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import house

root = Path(__file__).resolve().parents[2]
sys.path.append(str(root / "benchmarks"))
from claims import read_claims


def load(script: str):
    "A script of the project as a module."
    spec = importlib.util.spec_from_file_location(Path(script).stem, root / script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build_script(): return load("docs/build.py")


lessons = house.notebooks()[1:]
page_of = lambda path: path.relative_to(root / "nbs").with_suffix(".html").as_posix()


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    built = subprocess.run([sys.executable, "docs/build.py", str(out)], cwd=root,
                           capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr[-6000:]
    return out / "html"


def text_of(page: Path) -> str:
    "What a reader sees, without tags."
    text = re.sub(r"<(script|style).*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.S)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", text)))


def article_of(page: Path) -> str:
    return re.search(r'<article.*?</article>', page.read_text(encoding="utf-8"), re.S)[0]


@pytest.mark.parametrize("path", lessons, ids=page_of)
def test_each_notebook_is_a_page(site, path):
    page = site / page_of(path)
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title = "".join(cells[0]["source"]).splitlines()[0].removeprefix("# ")
    pictures = sum(bool({"image/png", "image/jpeg"} & set(output.get("data", {}))) for cell in cells
                   for output in cell.get("outputs", []))
    assert f"<title>{title} - " in page.read_text(encoding="utf-8")
    assert len(re.findall(r'src="(?:\.\./)*_images/', article_of(page))) >= pictures
    assert "#|" not in text_of(page), "a directive is left on the page"
    assert not re.search(r'alt="(?:"|(?:\.\./)*_images)', article_of(page))


def test_pages_lead_to_one_another(site):
    count = len(house.lesson_notebooks())
    order = [*lessons[:count],
             *(root / f"nbs/help/{name}.md"
               for name in ("glossary", "cheat_sheet", "troubleshooting", "other_tools")),
             *lessons[count:]]
    for before, after in zip(order, order[1:]):
        for here, there, way in ((before, after, "next"), (after, before, "prev")):
            link = re.search(rf'rel="{way}"[^>]*href="([^"]+)"',
                             (site / page_of(here)).read_text(encoding="utf-8"))[1]
            assert ((site / page_of(here)).parent / link).resolve() == site / page_of(there)


def test_the_index_names_every_notebook():
    text = (root / "nbs/index.ipynb").read_text(encoding="utf-8")
    assert [path.stem for path in lessons
            if f"[{path.stem}]({path.relative_to(root / 'nbs').as_posix()})" not in text] == []


def test_contributing_shows_the_house_as_it_is():
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8").replace(" (03_methods)", "")
    assert [floor for floor in (house.tool, house.lessons, house.base)
            if f"| {', '.join(floor)} |" not in text] == []


def test_start_is_a_map_of_all_lessons():
    text = (root / "nbs/00_start.ipynb").read_text(encoding="utf-8")
    assert [path.stem for path in house.lesson_notebooks()[1:]
            if not re.search(rf"\| \[{path.stem}\]\({path.name}\) \| \d+ \|", text)] == []


# The pages that help

help_pages = sorted((root / "nbs/help").glob("*.md"))


@pytest.mark.parametrize("path", [*help_pages, root / "CONTRIBUTING.md", root / "CHANGELOG.md"],
                         ids=lambda path: path.stem)
def test_links_of_a_text_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not re.match("https?:", target)
            and not (path.parent / target).exists()] == []


def test_help_pages_are_on_the_site(site):
    menu = (site / "index.html").read_text(encoding="utf-8")
    assert help_pages and [path.stem for path in help_pages
                           if f'href="help/{path.stem}.html"' not in menu] == []


def test_what_this_tool_can_do_beside_others_has_tests():
    text = (root / "nbs/help/other_tools.md").read_text(encoding="utf-8")
    tables = [[line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")]
              for part in text.split("\n## ")]
    features, tests = (rows[1:] for rows in tables if rows)
    assert len(features) > 20 and {len(row) for row in features} == {8}
    assert [row[0] for row in features if row[1] != "no"] == [row[0] for row in tests]
    code = "".join(path.read_text(encoding="utf-8") for path in (root / "tests").rglob("test_*.py"))
    assert [name for _, name in tests if f"\ndef {name.strip('`')}(" not in code] == []


def test_the_glossary_explains_each_word_and_says_where_it_is_used():
    text = (root / "nbs/help/glossary.md").read_text(encoding="utf-8")
    entries = [line for line in text.splitlines() if line.startswith("**")]
    form = r"\*\*[^*]+\*\*: .+\(\[\d\d_\w+\]\(\.\./\d\d_\w+\.ipynb\)\)\.?$"
    assert len(entries) >= 30
    assert [entry for entry in entries if not re.match(form, entry)] == []
    words = ("CNN", "feature", "parameter", "epoch", "batch", "overfitting", "early stopping",
             "training set", "validation set", "ablation", "semantic segmentation",
             "instance segmentation", "matting", "transfer learning", "augmentation", "IoU",
             "alpha")
    assert [word for word in words
            if not re.search(rf"^\*\*[^*]*\b{word}\b", text, re.M | re.I)] == []


def test_the_cheat_sheet_calls_what_there_is():
    "Each name that it imports exists, and takes the arguments that it gets there."
    text = (root / "nbs/help/cheat_sheet.md").read_text(encoding="utf-8")
    tree = ast.parse("\n".join(re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)))
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.name: getattr(importlib.import_module(node.module), alias.name)
                      for alias in node.names}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)
             and isinstance(node.func, ast.Name) and node.func.id in names]
    for node in calls:
        inspect.signature(names[node.func.id]).bind(*node.args,
                                                    **{keyword.arg: keyword.value
                                                       for keyword in node.keywords})
    assert {node.func.id for node in calls} >= {"train", "evaluate", "batches", "build_unet"}


def test_links_lead_somewhere(site):
    """Each link inside the site goes to a file that is there, and to a place in it that is
    there once."""
    ids = {page: re.findall(r'\sid="([^"]+)"', page.read_text(encoding="utf-8"))
           for page in site.rglob("*.html")}
    assert [(page.name, name) for page, found in ids.items() for name in set(found)
            if found.count(name) > 1] == []
    for page in ids:
        for link in re.findall(r'<a\b[^>]*\shref="([^"]*)"', page.read_text(encoding="utf-8")):
            target = urlsplit(html.unescape(link))
            if target.scheme or target.netloc: continue
            file = (page.parent / unquote(target.path)).resolve() if target.path else page
            assert file.is_file(), f"{page.name}: {link}"
            if target.fragment and file in ids:
                assert unquote(target.fragment) in ids[file], f"{page.name}: {link}"


@pytest.mark.parametrize("path", lessons, ids=page_of)
def test_each_notebook_is_offered_as_it_is(site, path):
    link = re.search(r'href="((?:\.\./)*_downloads/[^"]*\.ipynb)"',
                     article_of(site / page_of(path)))
    assert ((site / page_of(path)).parent / link[1]).read_bytes() == path.read_bytes()


def test_what_was_measured_is_shown(site):
    shown = text_of(site / "measurements.html").replace("\u2019", "'") # as Sphinx sets it
    with open(root / "benchmarks/results/quality.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file): assert f"{row['network']} {float(row['IoU']):.4g}" in shown
    for name in read_claims(): assert name in shown


def test_each_row_says_which_direction_is_good(site):
    article = article_of(site / "measurements.html")
    table = article.partition("Against a baseline")[2].partition("</table>")[0]
    rows = re.findall(r"<tr.*?</tr>", table, re.S)[1:]
    assert len(rows) == len(read_claims())
    assert all("more\u00a0↑" in row or "less\u00a0↓" in row for row in rows)
    arrows = {name: load("docs/measured.py").direction(name)[-1]
              for name in ("IoU", "false alarms", "ms", "seconds", "photos_per_second", "network")}
    assert arrows == {"IoU": "↑", "false alarms": "↓", "ms": "↓", "seconds": "↓",
                      "photos_per_second": "↑", "network": "k"}


def test_units_say_the_direction_that_was_measured():
    """Where ours is better by its ratio, it has more of what is to be more, and less of what is
    to be less."""
    for name, entry in read_claims().items():
        more = entry["ours"] > entry["baseline"]
        assert (entry["ratio"] > 1) == (more if entry["unit"].endswith("/s") else not more), name


def test_imports_are_folded_and_ideas_are_not(site):
    build = build_script()
    assert build.is_folded("#| code-fold: true\nx = 1") and build.is_folded("#| export\nimport "
                                                                            "os\n%config a = 1")
    assert not build.is_folded("x = 1") and not build.is_folded("import os\nos.getcwd()")
    page = article_of(site / "02_metrics.html")
    folded = re.findall(r"<details.*?</details>", page, re.S)
    assert folded and "def iou" not in re.sub(r"<[^>]+>", "", "".join(folded))
    assert re.sub(r"<[^>]+>", "",
                  re.sub(r"<details.*?</details>", "", page,
                         flags=re.S)).count("import numpy as np") == 0


def test_the_menu_has_the_floors_in_order(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    groups = re.findall(r'<p class="caption"[^>]*><span class="caption-text">(.*?)</span>', text)
    assert [group for group in groups if group != "Use it"] == ["Lessons", "Help", "The tool",
                                                                "Behind it", "Scale", "Reference",
                                                                "About"]
    button = 'class="home-button" href="try_it.html"'
    assert ("Use it" in groups) == (site / "try_it.html").exists() == (button in text)


def test_card_and_texts_are_pages(site):
    for page, title in (("model_card", "Model card"), ("contributing", "Contributing"),
                        ("changelog", "Changelog")):
        assert f"<title>{title}" in (site / f"{page}.html").read_text(encoding="utf-8")
    assert 'href="model_card.html"' in article_of(site / "index.html")


def test_builtin_types_are_not_taken_for_ours(site):
    assert not re.search(r'<a [^>]*title="bg_remover[^"]*"[^>]*><span '
                         r'class="pre">(?:bytes|int|str|len)</span>',
                         (site / "api/tool.photos.html").read_text(encoding="utf-8"))


def test_exported_code_is_shown(site):
    assert "def iou(" in text_of(site / "02_metrics.html")


def test_reference_keeps_the_comment_of_each_parameter(site):
    metrics = text_of(site / "api/metrics.html")
    assert "prediction – H×W, bool" in metrics and "Returns:" in metrics
    assert {path.stem for path in (site / "api").glob("*.html")} == set(house.modules)


def test_prose_links_into_the_reference(site):
    assert re.search(r'href="api/\w+\.html#bg_remover\.', article_of(site / "02_metrics.html"))


def test_nothing_is_fetched(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for fetching in (r'<(?:script|img|iframe)[^>]*\ssrc=',
                         r'<link[^>]*rel="(?:stylesheet|preload|icon)"[^>]*href='):
            assert not re.findall(fetching + r'"(?:https?:)?//[^"]*"', text), page.name
    for style in site.rglob("*.css"):
        assert not re.findall(r"(?:@import|url\()\s*['\"]?(?:https?:)?//",
                              style.read_text(encoding="utf-8")), style.name


def test_names_in_prose_become_links_but_not_in_code_or_headings():
    build = build_script()
    names, link = {"iou": "bg_remover.metrics.iou"}, "{py:obj}`iou <bg_remover.metrics.iou>`"
    assert build.link_names("Call `iou`, not `sum`.", names) == f"Call {link}, not `sum`."
    for untouched in ("## The `iou`", "```python\n`iou`\n```", "[`iou`](x.md)", "``iou``"):
        assert build.link_names(untouched, names) == untouched


# What the page "Try it" needs from npm

@pytest.fixture
def fetch(tmp_path, monkeypatch):
    "docs/fetch.py as a module, for a folder in which nothing was fetched."
    shutil.copy(root / "docs/package-lock.json", tmp_path)
    module = load("docs/fetch.py")
    monkeypatch.setattr(module, "docs", tmp_path)
    monkeypatch.setattr(module, "packages", tmp_path / "node_modules")
    return module


def npm(folder: Path, *lines: str) -> str:
    "A stand-in for npm, and the PATH that has nothing else."
    (folder / "bin").mkdir()
    (folder / "bin/npm").write_text("\n".join(["#!/bin/sh", *lines, ""]))
    (folder / "bin/npm").chmod(0o755)
    return str(folder / "bin")


def test_without_npm_the_site_comes_without_the_page(fetch, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    fetch.main()
    assert capsys.readouterr().out.startswith('npm is not installed: the site comes without the '
                                              'page "Try it".') and not fetch.is_fetched()


def test_without_a_network_npm_says_why(fetch, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", npm(tmp_path, "echo 'npm error network' >&2", "exit 1"))
    fetch.main()
    said = capsys.readouterr().out
    assert "npm error network\nnpm could not fetch it" in said and not fetch.is_fetched()


def test_what_is_there_is_not_fetched_again(fetch, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH",
                       npm(tmp_path, "/bin/mkdir node_modules", "/bin/cp package-lock.json "
                           "node_modules/.package-lock.json"))
    fetch.main()
    assert fetch.is_fetched() and capsys.readouterr().out.startswith("Fetching")
    fetch.main()
    assert capsys.readouterr().out == ""
