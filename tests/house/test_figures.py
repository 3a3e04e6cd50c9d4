"""The live figures in a real browser: their numbers, the site's pages that hold them, and
JupyterLab. `make test-browser` builds the site and runs this; `make test` runs the first part,
which needs no browser.
"""
import json
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

import house
from figures import Touched, comparisons, stored_figures
from lessons import longest_line
from notebook_server import environment
from test_browser import Watched, address, browser # fixtures

root = Path(__file__).resolve().parents[2]
stored = stored_figures()
pages = sorted({f"{place.split()[0]}.html" for place in stored})
in_lessons = {place: figure for place, figure in stored.items() if place[0].isdigit()}
scripts = sorted((root / "bg_remover/figures").glob("*.js"))
wide, narrow = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


# What is stored

def test_each_figure_of_the_package_is_in_a_lesson():
    names = {path.stem for path in scripts} - {"shared"}
    assert {figure["name"] for figure in in_lessons.values()} == names == set(comparisons)


@pytest.mark.parametrize("place", stored)
def test_a_figure_is_small(place): assert len(json.dumps(stored[place])) <= 300_000


@pytest.mark.parametrize("path", scripts, ids=lambda path: path.name)
def test_a_script_is_short_and_asks_nobody(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 170 and not [line for line in lines if "http" in line or "fetch(" in line]


@pytest.mark.parametrize("path", [*scripts, *root.glob("docs/_static/*.js"),
                                  *root.glob("docs/try_it/*.js")], ids=lambda path: path.name)
def test_lines_of_a_script_fit_the_screen(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if len(line) > longest_line]


# Numbers

@pytest.mark.browser
@pytest.mark.parametrize("place", in_lessons)
def test_the_figure_agrees_with_python(browser, place):
    page = browser.new_page()
    figure = in_lessons[place]
    rows = list(comparisons[figure["name"]](Touched(page, figure)))
    page.close()
    assert len(rows) >= 4
    assert [row for row in rows if abs(row[1] - row[2]) > 0.001] == []


# The site

def open_page(browser, address: str, name: str, viewport=wide, **options) -> Watched:
    "A page whose figures have started, if scripts run."
    watched = Watched(browser.new_context(viewport=viewport, **options).new_page())
    watched.page.goto(address + name)
    if options.get("java_script_enabled", True):
        watched.page.wait_for_function("""document.querySelectorAll(".live-figure-place").length
            === document.querySelectorAll(".live-figure[data-ready]").length""")
    return watched


@pytest.mark.browser
@pytest.mark.parametrize("name", pages)
def test_the_figures_of_a_page_start_and_ask_nobody(browser, address, name):
    watched = open_page(browser, address, name)
    count = sum(place.split()[0] == name.removesuffix(".html") for place in stored)
    assert watched.page.locator(".live-figure").count() == count
    assert watched.complaints == [] and watched.foreign(address) == []
    assert watched.page.locator(".live-figure-place > img:visible").count() == 0
    watched.page.context.close()


@pytest.mark.browser
@pytest.mark.parametrize("name", pages)
def test_figures_work_from_a_file(browser, name):
    watched = open_page(browser, f"{(root / 'docs/_build/html').as_uri()}/", name)
    assert watched.complaints == [] and watched.page.locator(".live-figure").count() > 0
    watched.page.context.close()


@pytest.mark.browser
@pytest.mark.parametrize("name", pages)
def test_without_scripts_the_still_picture_stands(browser, address, name):
    watched = open_page(browser, address, name, java_script_enabled=False)
    stills = watched.page.locator(".live-figure-place > img")
    assert stills.count() and all(stills.nth(i).is_visible() for i in range(stills.count()))
    watched.page.context.close()


@pytest.mark.browser
def test_a_figure_that_fails_leaves_the_still_picture(browser):
    page = browser.new_page()
    script = (root / "docs/_static/figures.js").read_text(encoding="utf-8")
    broken = json.dumps(dict(data={}, state={}, source="""export default { render({ el }) {
        el.insertAdjacentHTML("beforeend", "<div class=live-figure></div>");
        throw Error("broken"); } }"""))
    with page.expect_event("pageerror"):
        page.set_content(f"""<div class="live-figure-place"><script type="application/json"
            >{broken.replace("<", chr(92) + "u003c")}</script><img alt="still" width="9" height="9">
            </div><script>{script}</script>""")
    assert page.locator("img").is_visible() and page.locator(".live-figure").count() == 0
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 360, 480, 768, 1280])
@pytest.mark.parametrize("name", pages)
def test_nothing_moves_when_figures_start(browser, address, name, width):
    heights = []
    for scripts_run in (False, True):
        watched = open_page(browser, address, name, {"width": width, "height": 800},
                            java_script_enabled=scripts_run)
        places = watched.page.locator(".live-figure-place")
        heights.append([places.nth(i).bounding_box()["height"] for i in range(places.count())])
        watched.page.context.close()
    assert heights[0] == heights[1]


@pytest.mark.browser
@pytest.mark.parametrize("viewport", [wide, narrow], ids=["wide", "narrow"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", pages)
def test_a_figure_is_accessible_and_fits(browser, address, name, scheme, viewport):
    watched = open_page(browser, address, name, viewport, color_scheme=scheme)
    page = watched.page
    page.add_script_tag(path=root / "docs/node_modules/axe-core/axe.min.js")
    found = page.evaluate("axe.run('.live-figure', {resultTypes: ['violations']})")["violations"]
    assert [(rule["id"], rule["nodes"][0]["html"][:120], rule["nodes"][0]["failureSummary"])
            for rule in found] == []
    outside = """[...document.querySelectorAll(".live-figure *")].filter(e => e.checkVisibility()
        && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 90))"""
    assert page.evaluate(outside) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    page.context.close()


@pytest.mark.browser
@pytest.mark.parametrize("name", pages)
def test_the_keyboard_reaches_each_control_and_shows_where_it_is(browser, address, name):
    page = open_page(browser, address, name).page
    controls = page.locator(".live-figure :is(input, select, button, canvas[tabindex='0'])")
    own = controls.evaluate_all("all => all.map(one => [...document.querySelectorAll("
                                "'.live-figure')].indexOf(one.closest('.live-figure')))")
    for number, figure in enumerate(own):
        if number and own[number - 1] == figure: page.keyboard.press("Tab")
        else: # the first of a figure; from before it, as a key was pressed last
            controls.nth(number).focus()
            page.keyboard.press("Shift+Tab")
            page.keyboard.press("Tab")
        assert controls.evaluate_all("all => all.indexOf(document.activeElement)") == number
        style = page.evaluate("(({outlineStyle, outlineWidth}) => `${outlineStyle} "
                              "${outlineWidth}`)(getComputedStyle(document.activeElement))")
        assert style == "solid 3px"
    assert own
    page.context.close()


@pytest.mark.browser
def test_arrow_keys_and_touch_move_a_slider(browser, address):
    page = open_page(browser, address, "03_methods.html", narrow, has_touch=True).page
    slider = page.locator("[data-figure=threshold] [name=threshold]")
    slider.focus()
    for _ in range(3): page.keyboard.press("ArrowRight")
    assert slider.input_value() == "131"
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.touchscreen.tap(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    assert int(slider.input_value()) > 200
    page.context.close()


@pytest.mark.browser
def test_a_click_sets_the_seed_and_growth_can_be_watched(browser, address):
    page = open_page(browser, address, "03_methods.html").page
    figure = page.locator("[data-figure=growing]")
    photo = figure.locator("canvas").first
    photo.scroll_into_view_if_needed()
    across = photo.bounding_box()["width"] / photo.evaluate("canvas => canvas.width") # of a pixel
    photo.click(position={"x": 120.5 * across, "y": 50.5 * across})
    values = [figure.locator(f"[name={name}]").input_value() for name in ("row", "column")]
    assert values == ["50", "120"]
    drawn = "canvas => canvas.toDataURL()"
    whole = photo.evaluate(drawn)
    figure.get_by_role("button", name="Watch it grow").click()
    page.wait_for_function("([canvas, whole]) => canvas.toDataURL() !== whole",
                           arg=[photo.element_handle(), whole])
    page.wait_for_function("([canvas, whole]) => canvas.toDataURL() === whole",
                           arg=[photo.element_handle(), whole])
    page.context.close()


@pytest.mark.browser
def test_a_kernel_can_be_edited(browser, address):
    page = open_page(browser, address, "06_model.html").page
    figure = page.locator("[data-figure=kernel]")
    figure.locator("[name=preset]").select_option("average")
    for number in range(9): figure.locator(f"[name=k{number}]").fill("2" if number == 4 else "0")
    assert figure.locator("[name=preset]").input_value() == "your own"
    pixel = int(figure.locator(".live-grid span").nth(4).inner_text())
    assert float(figure.locator(".live-figure").get_attribute("data-sum")) == 2 * pixel
    page.context.close()


@pytest.mark.browser
def test_a_surprise_is_what_training_drew(browser, address):
    page = open_page(browser, address, "05_generator.html").page
    figure = page.locator("[data-figure=augmentation]")
    draws = next(each["data"]["draws"] for each in in_lessons.values()
                 if each["name"] == "augmentation")
    assert 0 < sum(draw["flip"] for draw in draws) < len(draws)
    for draw in draws[:2]:
        figure.get_by_role("button", name="Surprise me").click()
        values = {name: float(figure.locator(f"[name={name}]").input_value())
                  for name in ("zoom", "contrast", "brightness")}
        assert values == pytest.approx({name: draw[name] for name in values}, abs=0.006)
        assert figure.locator("[name=flip]").is_checked() == draw["flip"]
    figure.locator("[name=moves]").check()
    assert figure.locator(".live-result").inner_text().startswith("0.0 %")
    page.context.close()


# JupyterLab

@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    "The address of a JupyterLab that has a folder to work in, beside the samples."
    folder, token = tmp_path_factory.mktemp("lab"), uuid.uuid4().hex
    (root / "nbs/_work").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0",
               f"--ServerApp.root_dir={root}", f"--IdentityProvider.token={token}",
               "--LabApp.news_url=None", "--LabApp.check_for_updates_class="
               "jupyterlab.NeverCheckForUpdate"]
    own = {"JUPYTER_RUNTIME_DIR": str(folder), "JUPYTERLAB_WORKSPACES_DIR": str(folder / "spaces"),
           "JUPYTER_CONFIG_DIR": str(folder / "config"), "PYTHONPATH": str(root)}
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, env={**environment, **own}, stdout=log, stderr=log)
    try:
        until = time.time() + 90
        while not (running := [*folder.glob("jpserver-*.json")]) and time.time() < until:
            time.sleep(0.2)
        assert running, (folder / "log").read_text()
        yield json.loads(running[0].read_text())["url"] + "lab/tree/{}?token=" + token
    finally:
        process.terminate() # ends its kernels, too
        process.wait(timeout=60)


def run_in_lab(page, lab: str, notebook: dict, name: str) -> Path:
    "Open a copy of a notebook in JupyterLab and run it from top to bottom; the copy."
    copy = root / f"nbs/_work/{name}-{uuid.uuid4().hex[:8]}.ipynb" # git ignores this folder
    copy.write_text(json.dumps(notebook), encoding="utf-8")
    page.goto(lab.format(copy.relative_to(root).as_posix()))
    page.get_by_text("(ipykernel) | Idle").wait_for(timeout=60_000)
    page.click("text=Run >> nth=0")
    page.click("text=Run All Cells")
    return copy


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_in_jupyterlab_a_figure_moves_and_python_reads_it(browser, lab):
    """The notebook that explains them, from top to bottom: the figure starts, its slider moves
    by keyboard, and a cell that runs afterwards sees where it is."""
    notebook = json.loads((root / "nbs/base/figures.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for cell in cells: cell["outputs"] = []
    page = browser.new_context(viewport=wide).new_page()
    copy = run_in_lab(page, lab, notebook | {"cells": cells}, "figures")
    try:
        page.wait_for_selector(".live-figure[data-ready]", timeout=90_000)
        slider = page.locator(".live-figure [name=threshold]")
        slider.focus()
        for _ in range(5): page.keyboard.press("ArrowRight")
        assert slider.input_value() == "133"
        last = page.locator(".jp-Notebook .jp-CodeCell").last
        last.locator(".cm-content").click()
        page.keyboard.press("ControlOrMeta+End")
        page.keyboard.insert_text("\nprint('now', figure.threshold)")
        page.keyboard.press("Control+Enter")
        last.locator("text=now 133").wait_for(timeout=30_000)
    finally:
        page.context.close()
        copy.unlink()


widget_cell = """import json
from bg_remover.base.figures import _make_widget, mime_type
from pathlib import Path
found = [output["data"][mime_type] for cell in json.loads(Path("../{}.ipynb").read_text())["cells"]
         for output in cell.get("outputs", []) if mime_type in output.get("data", {{}})]
for one in found: display(_make_widget(one["name"], one["data"], one["state"], {{}}))"""


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_in_jupyterlab_each_figure_starts(browser, lab):
    "As widgets, with the data that the lessons store; the lessons themselves run elsewhere."
    names = sorted({place.split()[0] for place in in_lessons})
    cells = [dict(cell_type="code", id=name, metadata={}, outputs=[], execution_count=None,
                  source=widget_cell.format(name)) for name in names]
    notebook = dict(cells=cells, nbformat=4, nbformat_minor=5, metadata=dict(
        kernelspec=dict(name="python3", display_name="python3", language="python")))
    # high enough for all: JupyterLab draws only what is near the screen
    watched = Watched(browser.new_context(viewport={"width": 1280, "height": 7000}).new_page())
    copy = run_in_lab(watched.page, lab, notebook, "all")
    try:
        watched.page.wait_for_function("document.querySelectorAll('.live-figure[data-ready]')"
                                       f".length === {len(in_lessons)}", timeout=90_000)
        assert [one for one in watched.complaints if "igure" in one or "widget" in one] == []
    finally:
        watched.page.context.close()
        copy.unlink()
