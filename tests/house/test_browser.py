"""The built site in a real browser: `make test-browser` builds it and runs this; `make test` leaves
it out.

Debian's Chromium does (apt-get install chromium), or any Chrome; CHROMIUM names another.
"""
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from bg_remover.images import read_image, write_image
from bg_remover.removal import Remover

root = Path(__file__).resolve().parents[2]
site, samples = root / "docs/_build/html", root / "nbs/samples/mini_coco/val2017"
sys.path.append(str(root / "docs"))
import chromium
import serve

pytestmark = pytest.mark.browser
pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html")) or ["index.html"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try: chromium.find_chromium()
    except FileNotFoundError as error: pytest.fail(str(error), pytrace=False)
    with chromium.open_browser() as opened: yield opened


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    "Where the site is served."
    if not (site / "index.html").exists():
        pytest.fail("there is no site: run make test-browser, which builds it", pytrace=False)
    if not (site / "try_it.html").exists():
        pytest.fail('the site was built without the page "Try it": install Node.js 20 with npm, '
                    'and run make docs', pytrace=False)
    server = serve.open_server(site, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


class Watched:
    "A page of the browser, with all that it asked for and complained of."
    def __init__(self, page: Page):
        self.page, self.requests, self.complaints = page, [], []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console",
                lambda message: self.complaints.append(message.text)
                if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", self.not_loaded)

    def not_loaded(self, request):
        """A missing file is told with another failure: this one is a request dropped because a
        test has left the page, most often its icon's."""
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"not loaded: {request.url} ({request.failure})")

    def foreign(self, address: str) -> list[str]:
        return [url for url in self.requests if not url.startswith((address, "blob:", "data:"))]


@pytest.fixture
def watched(browser) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield Watched(context.new_page())
    context.close()


# Every page

@pytest.fixture(scope="module", params=pages)
def loaded(browser, address, request) -> Iterator[Watched]:
    "One page after the other, loaded once for the tests that follow."
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watched = Watched(context.new_page())
    watched.page.goto(address + request.param)
    yield watched
    context.close()


def test_a_page_loads_whole_and_alone(loaded, address):
    not_drawn = """Promise.all([...document.images].map(image => image.decode().then(
        () => image.naturalWidth ? "" : image.src, () => image.src)))
        .then(all => all.filter(Boolean))"""
    assert loaded.page.evaluate(not_drawn) == []
    assert loaded.complaints == [] and loaded.foreign(address) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_accessible(loaded, scheme):
    """What axe-core finds against WCAG 2.1 A and AA: contrast, texts for pictures, names of
    controls, order of headings."""
    loaded.page.emulate_media(color_scheme=scheme)
    if scheme == "light":
        loaded.page.add_script_tag(path=root / "docs/node_modules/axe-core/axe.min.js")
        rules = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']"
    else: rules = "{type: 'rule', values: ['color-contrast']}" # nothing else is in the colours
    found = loaded.page.evaluate(f"axe.run(document, {{runOnly: {rules}, resultTypes: "
                                 f"['violations']}})")["violations"]
    assert [(rule["id"], len(rule["nodes"]), rule["nodes"][0]["html"][:120],
             rule["nodes"][0]["failureSummary"]) for rule in found] == []


def test_a_page_fits_a_small_screen(loaded):
    loaded.page.set_viewport_size({"width": 375, "height": 700})
    too_wide = """[...document.querySelectorAll("article *")]
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && e.checkVisibility())
        .map(e => e.outerHTML.slice(0, 90)).slice(0, 3)"""
    width = loaded.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 375, loaded.page.evaluate(too_wide)


@pytest.mark.parametrize("name",
                         ["index.html", "02_metrics.html", "api/metrics.html", "measurements.html",
                          "try_it.html"])
def test_the_keyboard_reaches_everything(watched, address, name):
    watched.page.goto(address + name)
    if name == "try_it.html": state(watched.page, "ready")
    mark = """window.wanted = [...document.querySelectorAll(
            "a[href], button, input, select, summary, textarea, [tabindex='0']")]
        .filter(e => e.checkVisibility({visibilityProperty: true}) && !e.disabled
                     && e.tabIndex >= 0 && e.getClientRects().length);
        wanted.length"""
    reached, count = set(), watched.page.evaluate(mark)
    for _ in range(count + 10):
        watched.page.keyboard.press("Tab")
        reached.add(watched.page.evaluate("wanted.indexOf(document.activeElement)"))
    left_out = [watched.page.evaluate(f"wanted[{i}].outerHTML.slice(0, 120)") for i in range(count)
                if i not in reached]
    assert left_out == []


def test_a_hundred_characters_of_code_fit(watched, address):
    """On a laptop's screen, beside the menu and the page's contents, nothing of a notebook's
    code has to be scrolled."""
    watched.page.set_viewport_size({"width": 1400, "height": 900})
    for name in ("02_metrics.html", "11_today.html"):
        watched.page.goto(address + name)
        room, needed = watched.page.evaluate("""(() => {
            const pre = document.querySelector(".cell_input:not(details *) pre");
            const line = document.createElement("span");
            line.textContent = "x".repeat(100); pre.append(line);
            const style = getComputedStyle(pre), width = line.getBoundingClientRect().width;
            line.remove();
            const padding = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
            return [pre.clientWidth - padding, width] })()""")
        assert needed <= room
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= 1400


def test_the_label_of_kept_code_covers_nothing(watched, address):
    watched.page.set_viewport_size({"width": 390, "height": 844})
    watched.page.goto(address + "02_metrics.html")
    style = "getComputedStyle(document.querySelector('.tag_exported .cell_input'), '::after')"
    assert watched.page.evaluate(f"[{style}.position, {style}.display]") == ["static", "block"]


def test_units_do_not_wrap(watched, address):
    watched.page.set_viewport_size({"width": 390, "height": 844})
    watched.page.goto(address + "measurements.html")
    lines = watched.page.evaluate("""(() => {
        const table = document.querySelector("#against-a-baseline table");
        return [...table.tBodies[0].rows].map(row => {
            const range = document.createRange();
            const text = document.createTreeWalker(row.cells[4], NodeFilter.SHOW_TEXT);
            let node = text.nextNode();
            while (!node.data.trim()) node = text.nextNode();
            range.selectNodeContents(node);
            return new Set([...range.getClientRects()].map(r => r.top)).size }) })()""")
    assert lines and set(lines) == {1}


def test_imports_open_on_a_click(watched, address):
    watched.page.goto(address + "00_start.html")
    code = watched.page.locator("details.hide pre").first
    assert not code.is_visible()
    watched.page.locator("details.hide summary").first.click()
    assert code.is_visible()


# The site's own controls

def file_address() -> str: return f"{site.as_uri()}/"


@pytest.mark.parametrize("where", ["served", "from a file"])
def test_search_finds_what_a_notebook_says(watched, address, where):
    start = address if where == "served" else file_address()
    watched.page.goto(f"{start}index.html")
    watched.page.fill(".sidebar-search", "region growing")
    watched.page.press(".sidebar-search", "Enter")
    watched.page.wait_for_selector("#search-results li a[href*='03_methods']")
    assert watched.complaints == [] and watched.foreign(start) == []


def test_pages_work_from_a_file(watched):
    for name in ("index.html", "03_methods.html", "api/removal.html"):
        watched.page.goto(file_address() + name)
        assert watched.page.evaluate("[...document.images].every(image => image.naturalWidth)")
    assert watched.complaints == [] and watched.foreign(file_address()) == []


def test_the_theme_switches_and_stays(watched, address):
    background = "getComputedStyle(document.body).backgroundColor"
    watched.page.goto(f"{address}index.html")
    seen = [watched.page.evaluate(background)]
    for _ in range(2):
        watched.page.locator(".theme-toggle:visible").click()
        seen.append(watched.page.evaluate(background))
    assert len(set(seen)) == 2
    watched.page.goto(f"{address}01_images.html")
    assert watched.page.evaluate(background) == seen[-1]


# The page that removes backgrounds

def state(page: Page, wanted: str) -> str:
    "Wait until the page is in a state; what it says then."
    page.wait_for_selector(f"#try-page[data-state={wanted}]", timeout=90_000)
    return page.inner_text("#try-status")


def answer(page: Page, name: str) -> tuple[str, str]: # the page's state, and what it says
    "Wait until the page speaks of the file of that name."
    page.wait_for_function("name => document.getElementById('try-status').textContent"
                           ".startsWith(`${name}: `)", arg=name, timeout=90_000)
    return page.get_attribute("#try-page", "data-state"), page.inner_text("#try-status")


@pytest.fixture(scope="module")
def try_it(browser, address) -> Iterator[Watched]:
    "The page, loaded once: it must not fetch anything again."
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watched = Watched(context.new_page())
    # from now on; asked for only when a key is pressed, it may come too late
    watched.page.on("filechooser", lambda chooser: None)
    watched.page.goto(f"{address}try_it.html")
    state(watched.page, "ready")
    watched.requests.clear()
    yield watched
    context.close()


def furthest(ours: np.ndarray, theirs: np.ndarray) -> float:
    "The largest difference in opacity, or in colour as much of it as is seen."
    seen = [np.dstack([each[..., :3] * (each[..., 3:] / 255), each[..., 3]])
            for each in (ours, theirs)]
    return np.abs(seen[0] - seen[1]).max()


@pytest.mark.parametrize("name, rows", [("000000252219", slice(None)),
                                        ("000000343937", slice(None)),
                                        ("000000397133", slice(None)),
                                        ("000000343937", slice(60, 220))]) # long: in tiles
def test_a_photo_comes_out_as_from_the_remover(try_it, tmp_path, name, rows):
    photo, page = read_image(samples / f"{name}.jpg")[rows], try_it.page
    write_image(tmp_path / f"{name} too.png", photo)
    page.evaluate("document.getElementById('try-status').textContent = ''") # of the photo before
    page.set_input_files("#try-file", tmp_path / f"{name} too.png")
    said = answer(page, f"{name} too.png")
    assert said[0] == "done" and re.fullmatch(r".*\.png: cut out in [\d.]+ seconds, on your "
                                              r"machine\.", said[1])
    page.wait_for_selector(f"#try-download[download^='{name}']")
    with page.expect_download() as download: page.click("#try-download")
    assert download.value.suggested_filename == f"{name} too-cutout.png"
    cutout = cv2.cvtColor(cv2.imread(download.value.path(), cv2.IMREAD_UNCHANGED),
                          cv2.COLOR_BGRA2RGBA)
    assert furthest(cutout, Remover().cutout(photo)) <= 2
    assert [url for url in try_it.requests
            if not url.startswith("blob:")] == [], "something left the page after it was loaded"


def test_a_photo_is_turned_as_its_camera_says(try_it, tmp_path):
    from PIL import Image
    with Image.open(samples / "000000343937.jpg") as photo:
        turned = Image.Exif()
        turned[0x0112] = 6
        photo.save(tmp_path / "turned.jpg", exif=turned)
        size = list(photo.size[::-1])
    try_it.page.set_input_files("#try-file", tmp_path / "turned.jpg")
    assert answer(try_it.page, "turned.jpg")[0] == "done"
    assert try_it.page.evaluate("[document.getElementById('try-after').width, "
                                "document.getElementById('try-after').height]") == size


def drop(page: Page, path: Path, event: str = "drop"):
    "Drop a file on the page, or paste one, as a browser does it."
    page.evaluate("""([bytes, name, kind]) => {
        const given = new DataTransfer();
        given.items.add(new File([new Uint8Array(bytes)], name));
        document.body.dispatchEvent(kind === "drop"
            ? new DragEvent("drop", {dataTransfer: given, bubbles: true, cancelable: true})
            : new ClipboardEvent("paste", {clipboardData: given, bubbles: true})) }""",
                  [list(path.read_bytes()), path.name, event])


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_dropped_and_pasted(try_it, tmp_path, event):
    path = shutil.copy(samples / "000000343937.jpg", tmp_path / f"by-{event}.jpg")
    drop(try_it.page, path, event)
    assert answer(try_it.page, f"by-{event}.jpg")[0] == "done"


def test_by_keyboard_alone(try_it):
    "The sample photo, the slider and the download, without a mouse; and the file dialog opens."
    page = try_it.page
    page.focus("#try-sample")
    page.keyboard.press("Enter")
    assert answer(page, "sample.png")[0] == "done"
    page.focus("#try-slider")
    for _ in range(10): page.keyboard.press("ArrowRight")
    at = page.evaluate("document.getElementById('try-result').style.getPropertyValue('--at')")
    assert at == f"{page.input_value('#try-slider')}%" != "50%"
    page.focus("#try-file")
    with page.expect_file_chooser(): page.keyboard.press("Enter")


def test_the_divider_follows_the_mouse(try_it):
    page = try_it.page
    page.set_input_files("#try-file", samples / "000000343937.jpg")
    assert answer(page, "000000343937.jpg")[0] == "done"
    page.locator("#try-compare").scroll_into_view_if_needed()
    box = page.locator("#try-compare").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 5, box["y"] + 20)
    page.mouse.up()
    assert page.input_value("#try-slider") == "20"


def test_nobody_is_said(try_it, tmp_path):
    write_image(tmp_path / "sky.png", np.full((60, 80, 3), (90, 140, 220), np.uint8))
    try_it.page.set_input_files("#try-file", tmp_path / "sky.png")
    said = answer(try_it.page, "sky.png")
    assert said[0] == "nobody" and said[1].startswith("sky.png: nobody found.")
    assert not try_it.page.is_visible("#try-result")


def test_bad_files_are_refused_kindly(try_it, tmp_path):
    (tmp_path / "letter.png").write_text("no photo")
    (tmp_path / "empty.jpg").touch()
    write_image(tmp_path / "vast.png", np.zeros((5001, 5001, 3), np.uint8))
    for name, why in (("letter.png", "cannot read"), ("empty.jpg", "cannot read"),
                      ("vast.png", "5001 × 5001 pixels are too many")):
        try_it.page.set_input_files("#try-file", tmp_path / name)
        said = answer(try_it.page, name)
        assert said[0] == "failed" and why in said[1]
    assert try_it.complaints == []


def test_from_a_file_the_page_says_what_to_do(watched):
    watched.page.goto(f"{file_address()}try_it.html")
    assert "make docs-serve" in state(watched.page, "file")
    assert watched.page.is_disabled("#try-file") and watched.complaints == []


@pytest.mark.parametrize("missing", ["worker.js", "cutout.onnx", "ort-wasm-simd-threaded.wasm"])
def test_an_incomplete_site_says_so(watched, address, missing):
    watched.page.route(f"**/{missing}", lambda route: route.abort())
    watched.page.goto(f"{address}try_it.html")
    assert state(watched.page, "broken").startswith("The network could not be loaded")
