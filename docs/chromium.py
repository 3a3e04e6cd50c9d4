"""Start the Chromium that is there, for the tests and measurements of the site. It is not
downloaded: on Debian, apt-get install chromium."""
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
# no sandbox: it needs rights that containers lack, and the pages are ours; the rest keeps Chromium
# from asking other hosts for anything
flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def find_chromium() -> str:
    "Where it lies, or an error in one line."
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not found:
        raise FileNotFoundError("no Chromium here: install it (on Debian: apt-get install "
                                "chromium), or point CHROMIUM at one")
    return found


@contextmanager
def open_browser() -> Iterator[Browser]:
    "A new browser without a window, closed at the end."
    path = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        try: yield browser
        finally: browser.close()
