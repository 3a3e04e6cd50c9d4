"""Draw what the home page shows: the pictures in nbs/images, and the tables of results. `make
readme` calls this.

Everything comes from the shipped network, the sample photos and the files in benchmarks/results;
nothing is typed.
"""
import csv
import hashlib
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np

from bg_remover.images import composite, on_checkerboard, read_image, resize_image, write_image
from bg_remover.removal import Remover

root = Path(__file__).resolve().parent.parent
images, samples = root / "nbs/images", root / "nbs/samples/mini_coco/val2017"
results = root / "benchmarks/results"
top, bottom = (250, 214, 165), (94, 129, 172) # RGB of the new background
# all CC BY, and so are the pictures
in_the_picture = ("000000343937", "000000168974", "000000519208", "000000547336")
jump = "000000349860" # CC BY-SA
waits = { # the words of the table, and what is compared with rembg in results.json
    "one photo, from start to finished file":
        "cold start: cut-out written, beside rembg with ISNet",
    "a folder of 12 photos": "a folder of 12 photos, beside rembg with ISNet",
    "memory for one photo": "memory: a photo of 0.3 megapixels cut out, beside rembg with ISNet"}


def evening(shape: tuple) -> np.ndarray: # RGB uint8 H×W×3
    "A new background: the colours of an evening sky."
    return np.linspace(top, bottom, shape[0]).astype(np.uint8)[:, None].repeat(shape[1], axis=1)


def square(image: np.ndarray, side: int) -> np.ndarray: # RGB uint8 side×side×3
    "The middle of a picture."
    short, (height, width) = min(image.shape[:2]), image.shape[:2]
    y, x = (height - short) // 2, (width - short) // 2
    return resize_image(image[y:y + short, x:x + short], (side, side))


def in_rows(rows: list[list[np.ndarray]], gap: int = 8) -> np.ndarray: # RGB uint8
    "Pictures of one size, in rows with white gaps."
    frame = lambda tile: cv2.copyMakeBorder(tile, 0, gap, 0, gap, cv2.BORDER_CONSTANT,
                                            value=(255,) * 3)
    return np.vstack([np.hstack([frame(tile) for tile in row]) for row in rows])[:-gap, :-gap]


def steps(remover: Remover) -> np.ndarray: # RGB uint8
    "One photo in four steps."
    photo = read_image(samples / f"{in_the_picture[0]}.jpg")
    grey = cv2.cvtColor(np.uint8(remover.probability(photo) * 255), cv2.COLOR_GRAY2RGB)
    cutout = remover.cutout(photo, empty_ok=True)
    return in_rows([[square(each, 300)
                     for each in (photo, grey, on_checkerboard(cutout),
                                  composite(cutout, evening(photo.shape)))]])


def code(remover: Remover) -> np.ndarray: # RGB uint8
    "What the lines of Python on the home page make."
    photo = read_image(samples / f"{jump}.jpg")
    cutout = on_checkerboard(remover.cutout(photo, empty_ok=True))
    return in_rows([[photo, cutout, remover.replace(photo, "blur", empty_ok=True)]])


def result(remover: Remover) -> np.ndarray: # RGB uint8
    "Photos above, cut-outs in the middle, new backgrounds below."
    photos = [read_image(samples / f"{name}.jpg") for name in in_the_picture]
    cutouts = [remover.cutout(photo, empty_ok=True) for photo in photos]
    rows = [photos, map(on_checkerboard, cutouts),
            [composite(cutout, evening(cutout.shape)) for cutout in cutouts]]
    return in_rows([[square(tile, 300) for tile in row] for row in rows])


def quality() -> list[dict]:
    "The rows of quality.csv."
    with open(results / "quality.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def quality_mark() -> str:
    "What the drawing keeps, to tell whether it is of today's table."
    return hashlib.sha256((results / "quality.csv").read_bytes()).hexdigest()[:16]


def draw_quality(path: Path):
    "Each network's IoU with its interval."
    import matplotlib
    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "quality" # the same file every time
    from matplotlib import pyplot
    rows = quality()[::-1]
    iou, low, high = ([float(row[name]) for row in rows] for name in ("IoU", "low", "high"))
    figure, axes = pyplot.subplots(figsize=(7, 0.45 * len(rows) + 0.9), layout="constrained")
    away = [[middle - end for middle, end in zip(iou, low)],
            [end - middle for middle, end in zip(iou, high)]]
    for at, row in enumerate(rows):
        colour = "#0072b2" if row["network"].startswith("bg_remover") else "#666666"
        axes.errorbar(iou[at], at, xerr=[[side[at]] for side in away], fmt="o", capsize=4,
                      color=colour)
    axes.set(yticks=range(len(rows)), yticklabels=[row["network"] for row in rows])
    axes.set_xlabel("mean IoU per photo with its 95 % interval (further right is better)")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, format="svg", metadata={"Date": None, "Description": quality_mark()})
    pyplot.close(figure)


def quality_table() -> str: # Markdown
    "Each network's IoU and false alarms."
    lines = ["| network | mean IoU | its 95 % interval | false alarms |", "|---|--:|:-:|--:|"]
    for row in quality():
        iou, low, high, alarms = (float(row[name])
                                  for name in ("IoU", "low", "high", "false alarms"))
        lines.append(f"| {row['network'].replace('_', chr(92) + '_')} | {iou:.3f} | {low:.3f} to "
                     f"{high:.3f} | {alarms:.0%} |")
    return "\n".join(lines)


def waiting_table() -> str: # Markdown
    "Time and memory beside rembg."
    claims = json.loads((results / "results.json").read_text(encoding="utf-8"))
    lines = ["| | bg-remover | rembg with ISNet |", "|---|--:|--:|"]
    for words, name in waits.items():
        claim = claims[name]
        ours, theirs = (f"{claim[key]:,.0f}" if claim[key] >= 100 else f"{claim[key]:.1f}"
                        for key in ("ours", "baseline"))
        lines.append(f"| {words} | {ours} {claim['unit']} | {theirs} {claim['unit']} |")
    return "\n".join(lines)


# the cells of nbs/index.ipynb that are made here
tables = {"index-quality-table": quality_table, "index-waiting-table": waiting_table}
photos = {"steps.jpg": steps, "code.jpg": code, "result.jpg": result}


def fill_tables(index: Path):
    "Write the tables into their cells of the home notebook."
    notebook = json.loads(index.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["id"] in tables: cell["source"] = tables[cell["id"]]().splitlines(keepends=True)
    index.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n",
                     encoding="utf-8", newline="\n")


def draw():
    "All pictures; a photo is written again only where it looks different now."
    images.mkdir(exist_ok=True)
    remover = Remover()
    for name, make in photos.items():
        if not is_current(name, picture := make(remover)): write_image(images / name, picture)
    draw_quality(images / "quality.svg")


def is_current(name: str, picture: np.ndarray) -> bool:
    "Whether the stored picture shows the same, except for what another processor rounds."
    if not (images / name).exists(): return False
    with tempfile.TemporaryDirectory() as folder:
        write_image(Path(folder) / name, picture) # JPEG changes it, too
        drawn, stored = read_image(Path(folder) / name), read_image(images / name)
    if stored.shape != drawn.shape: return False
    # means of small squares: an arm that is missing changes few pixels
    return float(cv2.blur(cv2.absdiff(stored, drawn), (12, 12)).max()) < 8
