"""The site builds without a warning, holds every notebook as it is stored and every parameter's comment, and asks nothing of the network."""
import csv
import html
import importlib.util
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
    built = subprocess.run([sys.executable, "docs/build.py", str(out)], cwd=root, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr[-6000:]
    return out / "html"


def text_of(page: Path) -> str:
    "What a reader sees, without tags."
    text = re.sub(r"<(script|style).*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.S)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", text)))


def article_of(page: Path) -> str: return re.search(r'<article.*?</article>', page.read_text(encoding="utf-8"), re.S)[0]


@pytest.mark.parametrize("path", lessons, ids=page_of)
def test_each_notebook_is_a_page(site, path):
    page = site / page_of(path)
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title = "".join(cells[0]["source"]).splitlines()[0].removeprefix("# ")
    pictures = sum(bool({"image/png", "image/jpeg"} & set(output.get("data", {}))) for cell in cells for output in cell.get("outputs", []))
    assert f"<title>{title} - " in page.read_text(encoding="utf-8")
    assert article_of(page).count('src="_images/') >= pictures
    assert "#|" not in text_of(page), "a directive is left on the page"
    assert 'alt=""' not in article_of(page) and "alt=\"_images" not in article_of(page)


def test_pages_lead_to_one_another(site):
    for before, after in zip(lessons, lessons[1:]):
        for here, there, way in ((before, after, "next"), (after, before, "prev")):
            link = re.search(rf'rel="{way}"[^>]*href="([^"]+)"', (site / page_of(here)).read_text(encoding="utf-8"))[1]
            assert ((site / page_of(here)).parent / link).resolve() == site / page_of(there)


def test_the_index_names_every_lesson():
    text = (root / "nbs/index.ipynb").read_text(encoding="utf-8")
    assert [path.stem for path in house.lesson_notebooks() if f"[{path.stem}]({path.name})" not in text] == []


def test_links_lead_somewhere(site):
    "Each link inside the site goes to a file that is there, and to a place in it that is there once."
    ids = {page: re.findall(r'\sid="([^"]+)"', page.read_text(encoding="utf-8")) for page in site.rglob("*.html")}
    assert [(page.name, name) for page, found in ids.items() for name in set(found) if found.count(name) > 1] == []
    for page in ids:
        for link in re.findall(r'<a\b[^>]*\shref="([^"]*)"', page.read_text(encoding="utf-8")):
            target = urlsplit(html.unescape(link))
            if target.scheme or target.netloc: continue
            file = (page.parent / unquote(target.path)).resolve() if target.path else page
            assert file.is_file(), f"{page.name}: {link}"
            if target.fragment and file in ids: assert unquote(target.fragment) in ids[file], f"{page.name}: {link}"


@pytest.mark.parametrize("path", lessons, ids=page_of)
def test_each_notebook_is_offered_as_it_is(site, path):
    link = re.search(r'href="(_downloads/[^"]*\.ipynb)"', article_of(site / page_of(path)))
    assert (site / link[1]).read_bytes() == path.read_bytes()


def test_what_was_measured_is_shown(site):
    shown = text_of(site / "measurements.html")
    with open(root / "benchmarks/results/quality.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file): assert f"{row['network']} {float(row['IoU']):.4g}" in shown
    for name in read_claims(): assert name in shown


def test_card_and_texts_are_pages(site):
    for page, title in (("model_card", "Model card"), ("contributing", "Contributing"), ("changelog", "Changelog")):
        assert f"<title>{title}" in (site / f"{page}.html").read_text(encoding="utf-8")
    assert 'href="model_card.html"' in article_of(site / "index.html")


def test_builtin_types_are_not_taken_for_ours(site):
    assert not re.search(r'<a [^>]*title="bg_remover[^"]*"[^>]*><span class="pre">(?:bytes|int|str|len)</span>', (site / "api/tool.photos.html").read_text(encoding="utf-8"))


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
        assert not re.findall(r'<(?:script|img|iframe)[^>]*\ssrc="(?:https?:)?//[^"]*"', text), page.name
        assert not re.findall(r'<link[^>]*rel="(?:stylesheet|preload|icon)"[^>]*href="(?:https?:)?//[^"]*"', text), page.name
    for style in site.rglob("*.css"): assert not re.findall(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", style.read_text(encoding="utf-8")), style.name


def test_names_in_prose_become_links_but_not_in_code_or_headings():
    build = build_script()
    names, link = {"iou": "bg_remover.metrics.iou"}, "{py:obj}`iou <bg_remover.metrics.iou>`"
    assert build.link_names("Call `iou`, not `sum`.", names) == f"Call {link}, not `sum`."
    for untouched in ("## The `iou`", "```python\n`iou`\n```", "[`iou`](x.md)", "``iou``"): assert build.link_names(untouched, names) == untouched


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
    assert capsys.readouterr().out.startswith('npm is not installed: the site comes without the page "Try it".') and not fetch.is_fetched()


def test_without_a_network_npm_says_why(fetch, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", npm(tmp_path, "echo 'npm error network' >&2", "exit 1"))
    fetch.main()
    said = capsys.readouterr().out
    assert "npm error network\nnpm could not fetch it" in said and not fetch.is_fetched()


def test_what_is_there_is_not_fetched_again(fetch, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", npm(tmp_path, "/bin/mkdir node_modules", "/bin/cp package-lock.json node_modules/.package-lock.json"))
    fetch.main()
    assert fetch.is_fetched() and capsys.readouterr().out.startswith("Fetching")
    fetch.main()
    assert capsys.readouterr().out == ""
