"""How long the page "Try it" takes from the drop of a photo to its cut-out: `make docs`, then
`python benchmarks/browser.py`.

A 640×480 photo (a sample, enlarged) is dropped on the page in Chromium, and cut out by
`Remover.cutout` on one thread, in turns. The first drop stands apart, for WebAssembly is compiled
meanwhile. Medians in seconds, printed and written to benchmarks/results/browser.csv:

    first drop, later drops      from the drop event until the cut-out is drawn; decoding is part of
                                 it
    Remover.cutout, one thread   of pixels already decoded, in Python
    open the page                until it says that it is ready, from a server on the same machine
"""
import argparse
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2

from claims import write_table

from bg_remover.images import read_image, write_image
from bg_remover.removal import Remover

root = Path(__file__).resolve().parent.parent
sys.path.append(str(root / "docs"))
import serve
from chromium import open_browser

sample = root / "nbs/samples/mini_coco/val2017/000000343937.jpg"


def ready(page, address: str) -> float: # seconds
    "Open the page, and wait until the network is there."
    start = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("#try-page[data-state=ready]")
    return time.perf_counter() - start


def drop(page, photo: Path) -> float: # seconds, by the page's own clock
    "Give the page a photo, and wait for the cut-out."
    page.evaluate("document.getElementById('try-page').dataset.state = 'waiting'")
    page.set_input_files("#try-file", photo)
    page.wait_for_selector("#try-page[data-state=done]")
    return float(page.get_attribute("#try-page", "data-seconds"))


def cut(remover: Remover, pixels) -> float: # seconds
    "Cut a decoded photo out in Python."
    start = time.perf_counter()
    remover.cutout(pixels)
    return time.perf_counter() - start


def measure(address: str, photo: Path, runs: int) -> dict[str, list[float]]:
    "The seconds of each run, by what was measured."
    pixels, remover = read_image(photo), Remover(threads=1)
    found = {name: [] for name in ("open the page", "first drop", "later drops",
                                   "Remover.cutout, one thread")}
    cv2.setNumThreads(1)
    cut(remover, pixels)
    with open_browser() as browser:
        for _ in range(3):
            page = browser.new_page()
            found["open the page"].append(ready(page, address))
            found["first drop"].append(drop(page, photo))
            for _ in range(runs):
                found["later drops"].append(drop(page, photo))
                found["Remover.cutout, one thread"].append(cut(remover, pixels))
            page.close()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5,
                        help="drops for each of three openings of the page")
    runs = parser.parse_args().runs
    if not (serve.site / "try_it.html").exists():
        sys.exit("There is no page to measure: run make docs, with npm, first.")
    server = serve.open_server(serve.site, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        pixels = cv2.resize(read_image(sample), (640, 480), interpolation=cv2.INTER_CUBIC)
        write_image(photo, pixels)
        found = measure(f"http://127.0.0.1:{server.server_port}/try_it.html", photo, runs)
    rows = [{"seconds for": name, "median": f"{statistics.median(values):.3f}",
             "least": f"{min(values):.3f}", "most": f"{max(values):.3f}", "runs": len(values)}
            for name, values in found.items()]
    write_table(root / "benchmarks/results/browser.csv", rows)
    for row in rows: print("{:28} {} s (from {} to {}, {} runs)".format(*row.values()))


if __name__ == "__main__":
    main()
