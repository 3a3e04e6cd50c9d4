"""What refinement and estimated colours do for the edges, and what they cost: `python
benchmarks/edges.py`.

Prints four tables. The first two use drawn subjects with hair before real backgrounds, whose alpha
and colours are known in every pixel:
1. error of a cut-out laid on new backgrounds when alpha is known, for three ways to choose the
colour of soft pixels;
2. the same when alpha comes from a coarse answer (the true alpha at 256×256, blurred), stretched or
refined; and the boundary IoU of both.
   "grey" refines by a photo without colours.
3. The shipped model on the validation samples, with and without refinement. COCO's outlines are
coarse, so small differences mean little.
4. Milliseconds of one core and peak memory by size of the photo. `--only 4` prints one table.
Tables 1 to 3 are kept in benchmarks/results/edges.csv, which lesson 09 shows.
"""
import argparse
import csv
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from bg_remover.data_prep import prepare_pairs
from bg_remover.images import read_image, read_mask, resize_image, resize_probability
from bg_remover.metrics import boundary_iou
from bg_remover.removal import Remover, alpha_from, estimate_foreground, refine
from bg_remover.images import composite

samples = Path(__file__).resolve().parent.parent / "nbs/samples/mini_coco"
# a kitchen, a meadow, a room: photos to stand before
behind = ("000000030213", "000000041888", "000000357888")
grounds = {"black": (0, 0, 0), "white": (255, 255, 255), "green": (0, 150, 80)}
results = Path(__file__).resolve().parent / "results/edges.csv"
megapixels = {0.3: (480, 640), 2: (1224, 1632), 12: (3000, 4000)}


# uint8 H×W
def draw_alpha(size: tuple[int, int], rng: np.random.Generator, times: int = 4) -> np.ndarray:
    "Head, shoulders and hair, drawn `times` as large and averaged down."
    height, width = size[0] * times, size[1] * times
    drawn, middle, side = np.zeros((height, width),
                                   np.uint8), np.array([width * 0.5, height * 0.42]), height
    cv2.ellipse(drawn, middle.astype(int), (int(0.17 * side), int(0.22 * side)), 0, 0, 360, 255, -1)
    cv2.ellipse(drawn, (int(middle[0]), int(1.02 * side)), (int(0.36 * side), int(0.42 * side)), 0,
                0, 360, 255, -1)
    along = np.linspace(0, 1, 12)[:, None]
    for angle in rng.uniform(0.95 * np.pi, 2.05 * np.pi, 150):
        out = np.array([np.cos(angle), np.sin(angle)])
        way = (out + rng.normal(0, 0.35, 2)) * rng.uniform(0.03, 0.12) * side
        bend = np.array([-way[1], way[0]]) * rng.normal(0, 0.3)
        points = middle + out * (0.16 * side, 0.21 * side) + way * along + bend * along ** 2
        cv2.polylines(drawn, [points.round().astype(np.int32)], False, 255, max(1, side // 600),
                      cv2.LINE_AA)
    return cv2.resize(drawn, size[::-1], interpolation=cv2.INTER_AREA)


def draw_subject(size: tuple[int, int], stem: str, seed: int) -> tuple[np.ndarray, np.ndarray,
                                                                       np.ndarray]:
    "A photo of which all is known: uint8 photo H×W×3, colours H×W×3, alpha H×W."
    rng = np.random.default_rng(seed)
    alpha, down = draw_alpha(size, rng), np.linspace(0, 1, size[0])[:, None, None]
    colours = np.where(down < 0.36, (70, 45, 30),
                       np.where(down < 0.62, (205, 150, 120), (40, 60, 130)))
    grain = rng.normal(0, 12, (40, max(1, 40 * size[1] // size[0]), 3))
    colours = np.clip(colours + cv2.resize(grain, size[::-1], interpolation=cv2.INTER_CUBIC), 0,
                      255).astype(np.uint8)
    background = resize_image(read_image(samples / "val2017" / f"{stem}.jpg"), size)
    return composite(np.dstack([colours, alpha]), background), colours, alpha


def subjects() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    "Each size that is quick to draw before each background."
    for size in list(megapixels.values())[:2]:
        for seed, stem in enumerate(behind): yield draw_subject(size, stem, seed)


def colour_ways(photo: np.ndarray, alpha: np.ndarray) -> dict[str, np.ndarray]: # RGBA uint8 H×W×4
    "Three colours that soft pixels may get."
    multiplied = np.round(photo * (alpha / 255)[..., None]).astype(np.uint8)
    ways = {"the photo's": photo, "times alpha": multiplied,
            "estimated": estimate_foreground(photo, alpha)}
    return {name: np.dstack([colours, alpha]) for name, colours in ways.items()}


def errors(cutout: np.ndarray, truth: np.ndarray, where: np.ndarray) -> list[float]:
    "Mean error of 255 over each new background."
    return [float(np.abs(composite(cutout, ground).astype(int) - composite(truth,
                                                                           ground))[where].mean())
            for ground in grounds.values()]


def print_means(title: str, rows: dict[str, list[list[float]]], columns: list[str]):
    "The mean over all subjects, printed and kept."
    print(f"\n{title}\n{'':32}" + "".join(f"{column:>14}" for column in columns))
    for name, values in rows.items():
        print(f"{name:32}" + "".join(f"{value:14.3f}" for value in np.mean(values, axis=0)))
    kept = [[title[0], name, column, len(values), f"{value:.4f}"] for name, values in rows.items()
            for column, value in zip(columns, np.mean(values, axis=0))]
    head, others = ["table", "row", "column", "photos", "mean"], []
    if results.exists():
        with open(results, newline="") as file:
            others = [row for row in list(csv.reader(file))[1:] if row[0] != title[0]]
    with open(results, "w", newline="") as file:
        csv.writer(file,
                   lineterminator="\n").writerows([head,
                                                   *sorted(others + kept, key=lambda row: row[0])])


def known_alpha():
    "Table 1."
    rows = {}
    for photo, colours, alpha in subjects():
        soft, truth = (alpha > 0) & (alpha < 255), np.dstack([colours, alpha])
        for name, cutout in colour_ways(photo, alpha).items():
            rows.setdefault(name, []).append(errors(cutout, truth, soft))
    print_means("1. mean error (of 255) at soft pixels, alpha known; colour:", rows, list(grounds))


def coarse_answer(alpha: np.ndarray) -> np.ndarray: # float32 256×256 in 0–1
    "What a good network might say: the truth, small and blurred."
    return cv2.GaussianBlur(resize_probability(np.float32(alpha) / 255, (256, 256)), (0, 0), 1.2)


# float32 H×W in 0–1
def refinements(answer: np.ndarray, photo: np.ndarray) -> dict[str, np.ndarray]:
    "A coarse answer at the photo's size: as it is, by the photo's brightness, by its colours."
    grey = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return {"stretched": resize_probability(answer, photo.shape[:2]),
            "refined, grey": refine(answer, grey), "refined": refine(answer, photo)}


def whole_way():
    "Table 2."
    rows = {}
    for photo, colours, alpha in subjects():
        answer, truth = coarse_answer(alpha), np.dstack([colours, alpha])
        near = cv2.dilate(np.uint8((alpha > 0) & (alpha < 255)), np.ones((15, 15), np.uint8)) > 0
        for title, probability in refinements(answer, photo).items():
            rim = boundary_iou(probability >= 0.5, alpha >= 128, 0.005)
            for name, cutout in colour_ways(photo, alpha_from(probability, 0.5)).items():
                rows.setdefault(f"{title}; {name}", []).append([*errors(cutout, truth, near), rim])
    print_means("2. mean error (of 255) within 7 pixels of soft ones, alpha from a coarse answer; "
                "colour:", rows, [*grounds, "boundary IoU"])


def samples_with_shipped_model(work_dir: Path):
    "Table 3."
    folder, remover, rows = prepare_pairs(samples, "val", work_dir, size=None), Remover(), {}
    for path in sorted((folder / "masks").glob("*.png")):
        photo, mask = read_image(folder / "frames" / f"{path.stem}.jpg"), read_mask(path)
        for name, probability in refinements(remover.answer(photo), photo).items():
            found = (probability >= remover.threshold) & (mask != 128)
            rows.setdefault(name,
                            []).append([boundary_iou(found, mask == 255, rim)
                                        for rim in (0.02, 0.005)])
    print_means(f"3. boundary IoU, shipped model, {len(rows['refined'])} validation samples, rim "
                "as a share of the diagonal:", rows, ["2 %", "0.5 %"])


# median milliseconds of one core, peak megabytes
def cost(call: Callable, repeats: int = 5) -> tuple[float, float]:
    "What a call costs, after one to warm up."
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(1000 * (time.process_time() - start))
    return statistics.median(times), peak


def costs():
    "Table 4."
    cv2.setNumThreads(1)
    print("\n4. milliseconds of one core, and peak megabytes beside the photo\n"
          + "".join(f"{name:>16}"
                    for name in ("megapixels", "refine", "alpha", "colours", "peak of refine",
                                 "of colours")))
    for size, shape in megapixels.items():
        photo, _, alpha = draw_subject(shape, behind[0],
                                       0) if size < 12 else (resize_image(one, shape)
                                                             for one in draw_subject(megapixels[2],
                                                                                     behind[0], 0))
        answer = coarse_answer(alpha)
        probability = refine(answer, photo)
        alpha = alpha_from(probability, 0.5)
        done = [cost(call)
                for call in (lambda: refine(answer, photo), lambda: alpha_from(probability, 0.5),
                             lambda: estimate_foreground(photo, alpha))]
        print(f"{size:16}" + "".join(f"{milliseconds:16.0f}" for milliseconds, _ in done)
              + f"{done[0][1]:16.0f}{done[2][1]:16.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, choices=(1, 2, 3, 4), help="print this table alone")
    parser.add_argument("--work", type=Path, default=Path("nbs/_work/edges"), help="folder for the "
                        "samples' pairs")
    options = parser.parse_args()
    tables = (known_alpha, whole_way, lambda: samples_with_shipped_model(options.work), costs)
    for table in tables if options.only is None else tables[options.only - 1:options.only]: table()
