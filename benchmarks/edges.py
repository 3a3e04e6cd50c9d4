"""What refinement and estimated colours do for the edges, and what they cost: `python
benchmarks/edges.py`.

Prints five tables. The first two use drawn subjects with hair before real backgrounds, whose alpha
and colours are known in every pixel:

1. error of a cut-out laid on new backgrounds when alpha is known, for four ways to choose the
   colour of soft pixels;
2. the same when alpha comes from a coarse answer (the true alpha at 256×256, blurred), stretched
   or refined; and the boundary IoU of both. "grey" refines by a photo without colours,
   "neighbours" lets the filter go as far as the network goes within a pixel or two of its own,
   sure or not.
3. The shipped model on the validation samples, with and without refinement. COCO's outlines are
   coarse, so small differences mean little.
4. What refinement costs a perfect answer: IoU of true masks that went through the network's grid.
5. Milliseconds of one core and peak memory by size of the photo.

`--only 5` prints one table. With `--pairs FOLDER` (frames, masks, index.csv with name, source,
split), 3 and 4 take its portraits, whose masks are fine, and its photos of the split `choose`, in
place of the samples. Tables 1 to 4 are kept in benchmarks/results/edges.csv, which lesson 09 shows.
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
from bg_remover.images import composite, read_image, read_mask, resize_image, resize_probability
from bg_remover.metrics import boundary_iou
from bg_remover.removal import (Remover, _mean_colour, _unmix, alpha_from, estimate_foreground,
                                guided_filter, hysteresis_threshold, refine)

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
    drawn = np.zeros((height, width), np.uint8)
    middle, side = np.array([width * 0.5, height * 0.42]), height
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


Subject = tuple[np.ndarray, np.ndarray, np.ndarray] # uint8 photo H×W×3, colours H×W×3, alpha H×W


def draw_subject(size: tuple[int, int], stem: str, seed: int) -> Subject:
    "A photo of which all is known."
    rng = np.random.default_rng(seed)
    alpha, down = draw_alpha(size, rng), np.linspace(0, 1, size[0])[:, None, None]
    colours = np.where(down < 0.36, (70, 45, 30),
                       np.where(down < 0.62, (205, 150, 120), (40, 60, 130)))
    grain = rng.normal(0, 12, (40, max(1, 40 * size[1] // size[0]), 3))
    colours = colours + cv2.resize(grain, size[::-1], interpolation=cv2.INTER_CUBIC)
    colours = np.clip(colours, 0, 255).astype(np.uint8)
    background = resize_image(read_image(samples / "val2017" / f"{stem}.jpg"), size)
    return composite(np.dstack([colours, alpha]), background), colours, alpha


def subjects() -> Iterator[Subject]:
    "Each size that is quick to draw before each background."
    for size in list(megapixels.values())[:2]:
        for seed, stem in enumerate(behind): yield draw_subject(size, stem, seed)


def blur_fusion(photo: np.ndarray, alpha: np.ndarray) -> np.ndarray: # uint8 H×W×3
    "The person's colours as published (Forte, 2021): the background's stay blurred."
    mixed, share = np.float32(cv2.split(photo)), np.float32(alpha) / 255
    person = background = mixed
    for radius in (45, 3):
        near, far = (_mean_colour(person, share, radius),
                     _mean_colour(background, 1 - share, radius))
        person, background = _unmix(mixed, share, near, far), far
    return cv2.merge([*np.uint8(person.round())])


def colour_ways(photo: np.ndarray, alpha: np.ndarray) -> dict[str, np.ndarray]: # RGBA uint8 H×W×4
    "Four colours that soft pixels may get."
    multiplied = np.round(photo * (alpha / 255)[..., None]).astype(np.uint8)
    ways = {"the photo's": photo, "times alpha": multiplied,
            "blur fusion": blur_fusion(photo, alpha),
            "estimated": estimate_foreground(photo, alpha)}
    return {name: np.dstack([colours, alpha]) for name, colours in ways.items()}


def errors(cutout: np.ndarray, truth: np.ndarray, where: np.ndarray) -> list[float]:
    "Mean error of 255 over each new background."
    found = []
    for ground in grounds.values():
        difference = composite(cutout, ground).astype(int) - composite(truth, ground)
        found.append(float(np.abs(difference)[where].mean()))
    return found


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
    rows = sorted(others + kept, key=lambda row: row[0])
    with open(results, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])


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


def bounded_by_neighbours(answer: np.ndarray, photo: np.ndarray) -> np.ndarray: # float32 H×W
    "The filter, kept between the network's lowest and highest answer nearby."
    low, high = (resize_probability(nearby(answer, np.ones((side, side), np.uint8)),
                                    photo.shape[:2])
                 for nearby, side in ((cv2.erode, 3), (cv2.dilate, 5)))
    return np.clip(guided_filter(answer, photo, epsilon=1e-4), low, high)


# float32 H×W in 0–1
def refinements(answer: np.ndarray, photo: np.ndarray) -> dict[str, np.ndarray]:
    "A coarse answer at the photo's size: as it is, by the photo's brightness, by its colours."
    grey = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return {"stretched": resize_probability(answer, photo.shape[:2]),
            "neighbours": bounded_by_neighbours(answer, photo),
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


def samples_or(pairs: Path | None, work_dir: Path) -> dict[str, list[tuple[Path, Path]]]:
    "Frames and masks by kind: the samples, or photos of a folder with an index."
    if pairs is None:
        folder = prepare_pairs(samples, "val", work_dir, size=None)
        names = {"samples": sorted(path.stem for path in (folder / "masks").glob("*.png"))}
    else:
        with open(pairs / "index.csv", newline="") as file: rows = list(csv.DictReader(file))
        portraits = [row["name"] for row in rows if row["source"] == "portrait"]
        chosen = [row["name"] for row in rows if row["split"] == "choose"]
        folder, names = pairs, {"choose": chosen, "portraits": portraits[::20]}
    return {kind: [(folder / f"frames/{name}.jpg", folder / f"masks/{name}.png") for name in some]
            for kind, some in names.items()}


def large_people(paths: list[tuple[Path, Path]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    "Photos and masks of which people are at least a twentieth."
    for frame, mask in paths:
        photo, mask = read_image(frame), read_mask(mask)
        if (mask == 255).mean() >= 0.05: yield photo, mask


def shipped_model(kinds: dict[str, list[tuple[Path, Path]]]):
    "Table 3."
    remover, rows = Remover(), {}
    for kind, paths in kinds.items():
        for photo, mask in large_people(paths):
            answer = hysteresis_threshold(remover.answer(photo), remover.min_peak_probability)
            for name, probability in refinements(answer, photo).items():
                found = (probability >= remover.threshold) & (mask != 128)
                rims = [boundary_iou(found, mask == 255, rim) for rim in (0.02, 0.01, 0.005)]
                union = ((found | (mask == 255)) & (mask != 128)).sum()
                rows.setdefault(f"{kind}; {name}", []).append(
                    [*rims, (found & (mask == 255)).sum() / union])
    print_means("3. shipped model: boundary IoU with a rim of a share of the diagonal, and IoU:",
                rows, ["2 %", "1 %", "0.5 %", "IoU"])


def perfect_answers(kinds: dict[str, list[tuple[Path, Path]]]):
    "Table 4."
    rows, grid = {}, Remover().image_size
    for kind, paths in kinds.items():
        for photo, mask in large_people(paths):
            truth, half = mask == 255, tuple(side // 2 for side in grid)
            answer = resize_probability(resize_probability(np.float32(truth), half), grid)
            for name, probability in refinements(answer, photo).items():
                found = (probability >= 0.5) & (mask != 128)
                iou = (found & truth).sum() / (found | truth).sum()
                rows.setdefault(f"{kind}; {name}", []).append([iou])
    print_means("4. IoU of true masks after the network's grid:", rows, ["IoU"])


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


def sized_subject(shape: tuple[int, int]) -> Subject:
    "A subject of any size; a larger one is enlarged, because hair takes long to draw."
    if shape <= megapixels[2]: return draw_subject(shape, behind[0], 0)
    return tuple(resize_image(one, shape) for one in draw_subject(megapixels[2], behind[0], 0))


def costs():
    "Table 5."
    cv2.setNumThreads(1)
    columns = ("megapixels", "refine", "alpha", "colours", "peak of refine", "of colours")
    print("\n5. milliseconds of one core, and peak megabytes beside the photo\n"
          + "".join(f"{name:>16}" for name in columns))
    for size, shape in megapixels.items():
        photo, _, alpha = sized_subject(shape)
        answer = coarse_answer(alpha)
        probability = refine(answer, photo)
        alpha = alpha_from(probability, 0.5)
        calls = (lambda: refine(answer, photo), lambda: alpha_from(probability, 0.5),
                 lambda: estimate_foreground(photo, alpha))
        done = [cost(call) for call in calls]
        print(f"{size:16}" + "".join(f"{milliseconds:16.0f}" for milliseconds, _ in done)
              + f"{done[0][1]:16.0f}{done[2][1]:16.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, choices=(1, 2, 3, 4, 5), help="print this table alone")
    parser.add_argument("--pairs", type=Path, help="a folder of pairs with an index.csv")
    parser.add_argument("--work", type=Path, default=Path("nbs/_work/edges"),
                        help="folder for the samples' pairs")
    options = parser.parse_args()
    kinds = samples_or(options.pairs, options.work)
    tables = (known_alpha, whole_way, lambda: shipped_model(kinds), lambda: perfect_answers(kinds),
              costs)
    for table in tables if options.only is None else tables[options.only - 1:options.only]: table()
