"""How long the command takes, where the time goes, and how much memory: `python
benchmarks/removal.py`.

Medians; what is compared is run in turns, side by side. One table, also written to
benchmarks/results/removal.csv; claims with two sides go to results.json as well. `--only
cold|photo|png|folder|memory|edges|masks` measures one part and leaves the rest of the table as it
was.

    cold start    a new process until it ends: the bare imports of numpy, cv2 and onnxruntime;
                  `bg-remover remove` with a 640×480 photo, written to disk. Beside it `rembg i`
                  with ISNet, ours with the same network, and what of rembg is its start alone,
                  until it could load the network (`from rembg import remove`).
    one photo     in a process that has cut one before: decode, network, refine (edges, opacity,
                  colours), encode, and the whole of `cut_photo`, on all cores; then refine and
                  encode again on one core alone
    png           the cut-outs of the samples as PNG on one core, our way and Pillow's at three
                  levels: time and size by megapixel
    folder        photos in a second through `bg-remover remove FOLDER`, start included: held to one
                  core, with one worker; and on two cores with one and with two. Two cores against
                  one is the claim. And a smaller folder, beside `rembg p` with ISNet, and ours with
                  that network.
    memory        the most that a process and its children ever hold at once, by size of the photo;
                  and for `rembg i` with ISNet. Linux counts for a new process what its parent held
                  when it started it, so a small fresh Python is the parent.
    edges         colours of soft pixels, where alpha and colours are known (the drawn subjects of
                  edges.py): error before new backgrounds, and time. Ours; rembg's; and rembg's with
                  `-dc`, which takes the background's colour out of them. Each gets the true alpha.
    masks         the same network, ISNet, in both tools: how alike their masks of the samples are,
                  and how near to the true people (ISNet cuts out other things than people, too)

peers.py installs rembg and fetches ISNet; where that fails, their rows are left out.
--without-rembg does not try. ISNet is eight times as large as our file and cuts out other
things than people, too: the comparison is with what one would use instead, not with an equal.
rembg's default is now RMBG-2.0, a network of about 1 GB for non-commercial use. It, BiRefNet and
ViTMatte are downloads from GitHub that this script does not try to get, so nothing here says how
good or how fast rembg is with them. Tried and lost for the cold start: opening the network in a
thread beside the other imports; other levels of ONNX Runtime's graph optimisation.
"""
import argparse
import csv
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from bg_remover.base.photo_files import read_photo
from bg_remover.base.work import usable_cores
from bg_remover.data_prep import prepare_pairs
from bg_remover.images import read_image, read_mask, resize_image, write_image
from bg_remover.metrics import iou
from bg_remover.tool.photos import _encode, cut_photo
from bg_remover.removal import Remover, alpha_from, estimate_foreground, refine
from claims import keep_claim, write_table
from edges import errors, subjects
from peers import isnet, isnet_name, isnet_path, rembg, rembg_environment

root = Path(__file__).resolve().parent.parent
samples = sorted((root / "nbs/samples/mini_coco").glob("*2017/*.jpg"))
megapixels = {0.3: (480, 640), 2: (1224, 1632), 12: (3000, 4000), 50: (5774, 8660)}
repeats = {0.3: 9, 2: 7, 12: 5}
command = [sys.executable, "-m", "bg_remover", "remove"]
with_isnet = ["--model", isnet_path]
environment = {**os.environ, **rembg_environment, "PYTHONPATH": str(root)}
# what small Pythons run, to start a process and to watch it
on_core = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.execv(sys.argv[2], sys.argv[2:])
"""
launcher = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def run(line: list) -> float: # seconds
    "A process from its start to its end."
    begun = time.perf_counter()
    done = subprocess.run([str(part) for part in line], env=environment, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError(f"{line[0]} ended with {done.returncode}: "
                           f"{done.stderr.decode(errors='replace')[-500:]}")
    return time.perf_counter() - begun


def held_to_core(line: list) -> list:
    "The same command, allowed to use the first core alone."
    return [sys.executable, "-S", "-c", on_core, "0", *line]


def peak_megabytes(line: list) -> float:
    "The most memory that a process, or the largest of its children, held at any moment."
    done = subprocess.run([sys.executable, "-I", "-S", "-c", launcher, *map(str, line)],
                          env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout) / (1e6 if sys.platform == "darwin" else 1e3)


def in_turns(lines: dict[str, list], times: int) -> dict[str, list[float]]: # seconds of each round
    "Run each line once to warm the disk's cache, then all in turns."
    for line in lines.values(): run(line)
    rounds = [{name: run(line) for name, line in lines.items()} for _ in range(times)]
    return {name: [each[name] for each in rounds] for name in lines}


# as bg_remover imports them
bare_imports = """
import os
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy, cv2, onnxruntime
"""


def cold_starts(photo: Path, out: Path, other: Path | None) -> list[tuple]:
    "Rows of the first part."
    lines = {"bare imports": [sys.executable, "-c", bare_imports],
             "bg-remover remove": [*command, photo, out, "--overwrite"]}
    if other:
        lines |= {"rembg, imported": [other.with_name("python"), "-c", "from rembg import remove"],
                  "rembg i": [other, "i", "-m", isnet_name, photo, out],
                  "bg-remover remove, ISNet": [*command, photo, out, "--overwrite", *with_isnet]}
    found = in_turns(lines, 11)
    ours, bare = found["bg-remover remove"], statistics.median(found["bare imports"])
    keep_claim("cold start: cut-out written, beside the bare imports", ours, found["bare imports"],
               "s", less_is_better=True, aim=0.5)
    if other:
        keep_claim("cold start: cut-out written, beside rembg with ISNet", ours, found["rembg i"],
                   "s", found["bare imports"], less_is_better=True)
        keep_claim("cold start with ISNet: cut-out written, beside rembg",
                   found["bg-remover remove, ISNet"], found["rembg i"], "s", found["bare imports"],
                   less_is_better=True)
    rows = [("cold start", name, "seconds", statistics.median(seconds))
            for name, seconds in found.items()]
    return rows + [("cold start", name, "times the bare imports", statistics.median(seconds) / bare)
                   for name, seconds in found.items() if name != "bare imports"]


def milliseconds(call: Callable, times: int) -> tuple[float, object]:
    "The median time of a call, and its answer."
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        answer = call()
        taken.append(1000 * (time.perf_counter() - begun))
    return statistics.median(taken), answer


def one_photo(size: float, path: Path, remover: Remover) -> list[tuple]:
    "Rows of the second part, for one size."
    def finish():
        alpha = alpha_from(refine(answer, pixels), remover.threshold)
        return cv2.merge([estimate_foreground(pixels, alpha), alpha])
    cut_photo(path, remover)
    times, name = repeats[size], f"{size} megapixels"
    decode, read = milliseconds(lambda: read_photo(path), times)
    pixels = read.srgb
    network, answer = milliseconds(lambda: remover.answer(pixels), times)
    refined, cutout = milliseconds(finish, times)
    encode, _ = milliseconds(lambda: _encode(cutout, "png"), times)
    whole, _ = milliseconds(lambda: cut_photo(path, remover), times)
    cv2.setNumThreads(1)
    alone = milliseconds(finish, times)[0], milliseconds(lambda: _encode(cutout, "png"), times)[0]
    cv2.setNumThreads(-1)
    parts = {"decode": decode, "network": network, "refine": refined, "encode": encode,
             "whole": whole, "refine, one core": alone[0], "encode, one core": alone[1]}
    return [(name, part, "ms", value) for part, value in parts.items()]


def by_pillow(cutout: np.ndarray, level: int) -> bytes:
    "A PNG in Pillow's own way."
    file = io.BytesIO()
    Image.fromarray(cutout).save(file, "PNG", compress_level=level)
    return file.getvalue()


def png_ways() -> list[tuple]:
    "Rows of the third part."
    remover, rows, found = Remover(), [], {}
    cutouts = [remover.cutout(path, empty_ok=True) for path in samples]
    pixels = sum(cutout[..., 0].size for cutout in cutouts) / 1e6
    ways = {"ours": partial(_encode, format="png")}
    ways |= {f"Pillow, level {level}": partial(by_pillow, level=level) for level in (1, 3, 6)}
    cv2.setNumThreads(1)
    for _ in range(5):
        for name, way in ways.items():
            taken = milliseconds(lambda: sum(len(way(cutout)) for cutout in cutouts), 1)
            found.setdefault(name, []).append(taken)
    cv2.setNumThreads(-1)
    keep_claim("PNG of a cut-out, beside Pillow's own way",
               *([taken / pixels for taken, _ in found[name]]
                 for name in ("ours", "Pillow, level 6")), "ms/megapixel", less_is_better=True)
    for name, values in found.items():
        middle = statistics.median(taken for taken, _ in values)
        rows += [("png", name, "ms/megapixel", middle / pixels),
                 ("png", name, "kB/megapixel", values[0][1] / pixels / 1e3)]
    return rows


def folder_speed(photo: Path, work: Path, count: int = 40) -> list[tuple]:
    "Rows of the fourth part."
    (work / "photos").mkdir()
    for number in range(count): shutil.copy(photo, work / "photos" / f"{number}.jpg")
    one, two = ([*command, work / "photos", work / f"out{workers}", "--overwrite",
                 "--workers", str(workers)] for workers in (1, 2))
    lines = {"one core": held_to_core(one), "two cores, 1 worker": one, "two cores, 2 workers": two}
    speeds = {name: [count / taken for taken in seconds]
              for name, seconds in in_turns(lines, 2).items()}
    best = max(speeds, key=lambda name: statistics.median(speeds[name]))
    keep_claim("a folder, two cores beside one", speeds[best], speeds["one core"], "photos/s",
               aim=1.8)
    return [("folder", name, "photos/s", statistics.median(values))
            for name, values in speeds.items()]


def folder_beside(other: Path, photo: Path, work: Path, count: int = 12) -> list[tuple]:
    "Rows of the fourth part, for a smaller folder and the other tool."
    (work / "few").mkdir()
    for number in range(count): shutil.copy(photo, work / "few" / f"{number}.jpg")
    lines = {"12 photos, bg-remover": [*command, work / "few"],
             "12 photos, rembg p": [other, "p", "-m", isnet_name, work / "few"],
             "12 photos, bg-remover, ISNet": [*command, work / "few", *with_isnet]}
    speeds = {name: [] for name in lines}
    # the first warms the disk's cache; a new folder each time, for both leave alone what is there
    for number in range(4):
        for name, line in lines.items():
            out = work / f"{name} {number}"
            speeds[name].append(count / run([*line, out]))
            if len(list(out.glob("*.png"))) != count:
                raise RuntimeError(f"{name} did not make {count} files")
    speeds = {name: values[1:] for name, values in speeds.items()}
    ours, others, same = speeds.values()
    keep_claim("a folder of 12 photos, beside rembg with ISNet", ours, others, "photos/s")
    keep_claim("a folder of 12 photos with ISNet, beside rembg", same, others, "photos/s")
    return [("folder", name, "photos/s", statistics.median(values))
            for name, values in speeds.items()]


def peak_memory(paths: dict[float, Path], out: Path, other: Path | None) -> list[tuple]:
    "Rows of the part on memory."
    lines = {"bare imports": [sys.executable, "-c", bare_imports]}
    lines |= {f"{size} megapixels": [*command, path, out, "--overwrite"]
              for size, path in paths.items()}
    if other:
        lines["rembg i, 0.3 megapixels"] = [other, "i", "-m", isnet_name, paths[0.3], out]
        lines["ISNet, 0.3 megapixels"] = [*command, paths[0.3], out, "--overwrite", *with_isnet]
    peaks = {name: [peak_megabytes(line) for _ in range(3)] for name, line in lines.items()}
    if other:
        keep_claim("memory: a photo of 0.3 megapixels cut out, beside rembg with ISNet",
                   peaks["0.3 megapixels"], peaks["rembg i, 0.3 megapixels"], "MB",
                   peaks["bare imports"], less_is_better=True)
        keep_claim("memory with ISNet: a photo of 0.3 megapixels cut out, beside rembg",
                   peaks["ISNet, 0.3 megapixels"], peaks["rembg i, 0.3 megapixels"], "MB",
                   peaks["bare imports"], less_is_better=True)
    return [("memory", name, "peak MB", statistics.median(values))
            for name, values in peaks.items()]


# what rembg's own Python runs: its cut-outs by the true alpha, and the seconds each took
their_cutouts = """
import sys, time
from pathlib import Path
from PIL import Image
from rembg.bg import decontaminate_cutout, naive_cutout
for path in sorted(Path(sys.argv[1]).glob("*-photo.png")):
    photo = Image.open(path).convert("RGB")
    alpha = Image.open(path.with_name(path.name.replace("photo", "alpha")))
    for name, way in (("rembg", naive_cutout), ("rembg -dc", decontaminate_cutout)):
        way(photo, alpha) # the first call compiles
        begun = time.perf_counter()
        cutout = way(photo, alpha)
        print(f"{name},{time.perf_counter() - begun}")
        cutout.save(path.with_name(path.name.replace("photo", name)))
"""


def edge_colours(other: Path, work: Path) -> list[tuple]:
    "Rows of the part on edges."
    drawn, found, took = list(subjects()), {}, {}
    for number, (photo, _, alpha) in enumerate(drawn):
        for name, image in (("photo", photo), ("alpha", alpha)):
            Image.fromarray(image).save(work / f"{number}-{name}.png")
        milliseconds_each, colours = milliseconds(lambda: estimate_foreground(photo, alpha), 3)
        took.setdefault("bg-remover", []).append(milliseconds_each / alpha.size * 1e6)
        Image.fromarray(cv2.merge([colours, alpha])).save(work / f"{number}-bg-remover.png")
    done = subprocess.run([other.with_name("python"), "-c", their_cutouts, work], text=True,
                          capture_output=True, check=True, env=environment)
    for line, (_, _, alpha) in zip(done.stdout.splitlines(), [one for one in drawn for _ in "12"]):
        name, seconds = line.split(",")
        took.setdefault(name, []).append(float(seconds) / alpha.size * 1e9)
    for number, (_, colours, alpha) in enumerate(drawn):
        soft, truth = (alpha > 0) & (alpha < 255), cv2.merge([colours, alpha])
        for name in took:
            cutout = np.asarray(Image.open(work / f"{number}-{name}.png"))
            found.setdefault(name, []).append(np.mean(errors(cutout, truth, soft)))
    keep_claim("error of the colours of soft pixels, alpha known, beside rembg -dc",
               found["bg-remover"], found["rembg -dc"], "of 255", less_is_better=True)
    keep_claim("time for the colours of soft pixels, beside rembg -dc", took["bg-remover"],
               took["rembg -dc"], "ms/megapixel", less_is_better=True)
    return [("edges", name, unit, statistics.median(values[name])) for name in took
            for unit, values in (("error of 255", found), ("ms/megapixel", took))]


def same_masks(other: Path, work: Path) -> list[tuple]:
    "Rows of the part on masks: of the two tools, and of each and the truth."
    pairs = prepare_pairs(samples[0].parent.parent, "val", work / "pairs", size=None)
    run([other, "p", "-m", isnet_name, "-om", pairs / "frames", work / "masks"])
    remover, found = Remover(isnet()), {"bg-remover beside rembg": []}
    for path in sorted((pairs / "frames").iterdir()):
        true = read_mask(pairs / f"masks/{path.stem}.png")
        theirs = np.asarray(Image.open(work / f"masks/{path.stem}.png")) >= 128
        ours = remover.alpha(path) >= 128
        found["bg-remover beside rembg"].append(iou(ours, theirs))
        for name, mask in (("bg-remover", ours), ("rembg", theirs)):
            found.setdefault(f"{name} beside true people", []).append(
                iou(mask[true != 128], true[true != 128] == 255))
    return [("masks", name, "mean IoU", np.mean(values)) for name, values in found.items()]


def measure(parts: list[str], work: Path, other: Path | None) -> list[tuple]:
    "The rows of some parts."
    photo = read_image(root / "nbs/samples/mini_coco/val2017/000000343937.jpg")
    paths = {size: work / f"{size}.jpg" for size in megapixels}
    for size, path in paths.items(): write_image(path, resize_image(photo, megapixels[size]))
    rows = cold_starts(paths[0.3], work / "out.png", other) if "cold" in parts else []
    if "photo" in parts:
        remover = Remover()
        for size in repeats: rows += one_photo(size, paths[size], remover)
    if "png" in parts: rows += png_ways()
    if "folder" in parts: rows += folder_speed(paths[0.3], work)
    if "folder" in parts and other: rows += folder_beside(other, paths[0.3], work)
    if "memory" in parts: rows += peak_memory(paths, work / "out.png", other)
    if "edges" in parts and other: rows += edge_colours(other, work)
    if "masks" in parts and other: rows += same_masks(other, work)
    return rows


def keep_rows(rows: list[tuple]):
    "Write the table; rows of parts that were not measured stay as they were."
    path, parts = Path(__file__).parent / "results/removal.csv", {part for part, *_ in rows}
    with open(path, newline="") as file:
        before = [row for row in csv.DictReader(file) if row["part"] not in parts]
    new = [dict(part=part, what=what, unit=unit, median=f"{value:.3f}")
           for part, what, unit, value in rows]
    write_table(path, before + new)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without-rembg", action="store_true")
    every = ("cold", "photo", "png", "folder", "memory", "edges", "masks")
    parser.add_argument("--only", choices=every, help="measure this part alone")
    options = parser.parse_args()
    parts = [options.only] if options.only else every
    alone = options.without_rembg or not set(parts) - {"photo", "png"}
    other = None if alone else rembg()
    with tempfile.TemporaryDirectory() as folder: rows = measure(parts, Path(folder), other)
    print(f"{usable_cores()} cores, Python {sys.version.split()[0]}")
    for part, name, unit, value in rows: print(f"{part:16}{name:22}{value:10.2f} {unit}")
    keep_rows(rows)


if __name__ == "__main__":
    main()
