"""How long the command takes, where the time goes, and how much memory: `python benchmarks/removal.py`.

Medians; what is compared is run in turns, side by side. One table, also written to benchmarks/removal.csv:

    cold start    a new process until it ends: the bare imports of numpy, cv2 and onnxruntime; `bg-remover remove` with a
                  640×480 photo, written to disk; its peak memory. Beside it rembg, in an environment of its own: its weights
                  are a download, so only its start is measured, until it could load them (`from rembg import remove`), and
                  until `rembg i --help` is printed.
    one photo     in a process that has cut one before: decode, network, refine (edges, opacity, colours), encode, and the
                  whole of `cut_photo`; peak memory of a process that cuts this one photo
    folder        photos in a second through `bg-remover remove FOLDER`, start included, with 1 and with 2 workers

Do not trust the peak memory yet: Linux counts for a new process what this script held when it started it, so a figure can be
the script's own (three came out equal). Those rows are left out of the committed csv.

rembg is installed by pip into nbs/_work/rembg and kept there; where that fails, its rows are left out. --without-rembg does not try.
"""
import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bg_remover.images import read_image, resize_image, write_image
from bg_remover.photos import _encode, cut_photo, open_photo, read_pixels
from bg_remover.removal import Remover, alpha_from, estimate_foreground, refine

root = Path(__file__).resolve().parent.parent
sample = root / "nbs/samples/mini_coco/val2017/000000343937.jpg"
megapixels = {0.3: (480, 640), 2: (1224, 1632), 12: (3000, 4000)}
repeats = {0.3: 9, 2: 7, 12: 3}
command = [sys.executable, "-c", "from bg_remover.cli import main; main()", "remove"]
environment = {**os.environ, "PYTHONPATH": str(root)}


def run(line: list) -> tuple[float, float]: # seconds, peak megabytes
    "A process from its start to its end."
    begun = time.perf_counter()
    child = subprocess.Popen([str(part) for part in line], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    message = child.stderr.read().decode(errors="replace")
    _, status, used = os.wait4(child.pid, 0)
    if status: raise RuntimeError(f"{line[0]} ended with {os.waitstatus_to_exitcode(status)}: {message[-500:]}")
    return time.perf_counter() - begun, used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def in_turns(lines: dict[str, list], times: int) -> dict[str, tuple[float, float]]: # name → median seconds, megabytes
    "Run each line once to warm the disk's cache, then all in turns."
    for line in lines.values(): run(line)
    rounds = [{name: run(line) for name, line in lines.items()} for _ in range(times)]
    return {name: tuple(statistics.median(each[name][part] for each in rounds) for part in (0, 1)) for name in lines}


def rembg_python() -> Path | None:
    "The Python of an environment with rembg, made on the first call; None where it cannot be made."
    folder = root / "nbs/_work/rembg"
    python = folder / "bin/python"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        try: done = subprocess.run([python, "-m", "pip", "install", "-q", "rembg[cpu,cli]"], capture_output=True, text=True, timeout=240)
        except subprocess.TimeoutExpired: done = None
        if done is None or done.returncode:
            print(f"rembg is left out: pip could not install it ({(done.stderr.strip().splitlines() or ['no reason given'])[-1] if done else 'it took longer than four minutes'})")
            return None
        (folder / "ready").touch()
    return python


def cold_starts(photo: Path, out: Path, with_rembg: bool) -> list[tuple]:
    "Rows of the first part."
    lines = {"bare imports": [sys.executable, "-c", "import numpy, cv2, onnxruntime"], "bg-remover remove": [*command, photo, out, "--overwrite"]}
    python = rembg_python() if with_rembg else None
    if python: lines |= {"rembg, imported": [python, "-c", "from rembg import remove"], "rembg i --help": [python.with_name("rembg"), "i", "--help"]}
    found = in_turns(lines, 7)
    bare = found["bare imports"][0]
    rows = [("cold start", name, "seconds", seconds) for name, (seconds, _) in found.items()]
    rows += [("cold start", name, "times the bare imports", seconds / bare) for name, (seconds, _) in found.items() if name != "bare imports"]
    return rows + [("cold start", name, "peak MB", peak) for name, (_, peak) in found.items()]


def milliseconds(call: Callable, times: int) -> tuple[float, object]:
    "The median time of a call, and its answer."
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        answer = call()
        taken.append(1000 * (time.perf_counter() - begun))
    return statistics.median(taken), answer


def one_photo(size: float, path: Path, out: Path, remover: Remover) -> list[tuple]:
    "Rows of the second part, for one size."
    def finish():
        alpha = alpha_from(refine(answer, pixels), remover.threshold)
        return np.dstack([estimate_foreground(pixels, alpha), alpha])
    cut_photo(path, remover)
    times, name = repeats[size], f"{size} megapixels"
    decode, (pixels, _) = milliseconds(lambda: read_pixels(path, open_photo(path)), times)
    network, answer = milliseconds(lambda: remover.answer(pixels), times)
    refined, cutout = milliseconds(finish, times)
    encode, _ = milliseconds(lambda: _encode(cutout, "png"), times)
    whole, _ = milliseconds(lambda: cut_photo(path, remover), times)
    parts = dict(decode=decode, network=network, refine=refined, encode=encode, whole=whole)
    return [(name, part, "ms", value) for part, value in parts.items()] + [(name, "bg-remover remove", "peak MB", run([*command, path, out, "--overwrite"])[1])]


def folder_speed(photo: Path, work: Path, count: int = 40) -> list[tuple]:
    "Rows of the third part."
    (work / "photos").mkdir()
    for number in range(count): shutil.copy(photo, work / "photos" / f"{number}.jpg")
    lines = {f"{workers} worker{'s' * (workers > 1)}": [*command, work / "photos", work / f"out{workers}", "--workers", workers, "--overwrite"] for workers in (1, 2)}
    found = in_turns(lines, 2)
    return [("folder", name, "photos/s", count / seconds) for name, (seconds, _) in found.items()] + [("folder", name, "peak MB of the first process", peak) for name, (_, peak) in found.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without-rembg", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work, photo = Path(folder), read_image(sample)
        paths = {size: work / f"{size}.jpg" for size in megapixels}
        for size, path in paths.items(): write_image(path, resize_image(photo, megapixels[size]))
        rows = cold_starts(paths[0.3], work / "out.png", not options.without_rembg)
        remover = Remover()
        for size, path in paths.items(): rows += one_photo(size, path, work / "out.png", remover)
        rows += folder_speed(paths[0.3], work)
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
    for part, name, unit, value in rows: print(f"{part:16}{name:22}{value:10.2f} {unit}")
    with open(Path(__file__).with_suffix(".csv"), "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["part", "what", "unit", "median"])
        writer.writerows([part, name, unit, f"{value:.3f}"] for part, name, unit, value in rows)


if __name__ == "__main__":
    main()
