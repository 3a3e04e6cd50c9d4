"""Train the network that ships with the package, and ship it.

    python recipes/person_model.py train DATA RUN_DIR ENCODER.h5 [--precision mixed_bfloat16]
    python recipes/person_model.py ship DATA RUN_DIR [--remark TEXT]

DATA holds pairs/ (frames, masks, index.csv with name, source, split) and coco/ (COCO's own layout,
for the closing measurement); coco_pairs.py makes it of the whole COCO. ENCODER.h5 comes from
deeplab_encoder.py. `train` takes some four hours on two cores; called again, it goes on. RUN_DIR
gets a folder for each phase, as `bg_remover.training.train` writes it. `ship` writes what ships
into bg_remover/weights, with the model's card (model_card.md, filled in), the histories that the
notebooks draw into nbs/histories, and the score of each photo measured into
benchmarks/results/person_model_val.csv. Then second_opinion.py joins this network with a second
one, in the same person.onnx.

The phases: the decoder alone, then the encoder with it, in small steps, then both on larger
windows; then both again with a loss that counts photos, not pixels, and photos without people more
often; then for longer and in larger steps, mostly on street photos, which taught it the training
photos and little about others (phase 4); and at last from the mean of what there was, in small
steps, with people pasted in front of every second photo. The network that ships is the mean of that
phase's best and last weights (Wortsman et al., 2022, arXiv:2203.05482). Whatever is chosen (epoch,
input size, threshold) is chosen on the split `choose`; COCO's val photos only confirm. The weights
that ship were trained before augmentation became a list of steps and crowds were ignored
(CHANGELOG.md): the same call gives a network like it, not the same one.

Processors that multiply bfloat16 (lscpu says avx512_bf16) train faster with --precision
mixed_bfloat16, above all with an allocator that keeps its memory (MALLOC_MMAP_MAX_=0
MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456): a step of phase 1 took 2.2 s in
float32, with or without; 1.7 s in bfloat16, and 0.9 s with both (one try on two cores, other work
beside it).

Tried on 150 steps of 192 × 192, one seed each, IoU on `choose` at 256: encoder from DeepLab 0.601,
from ImageNet 0.574; going on from there with the encoder's deeper part at 5e-4, its filters not yet
brought to one size: 0.534; everything but the first layers at 1e-3 from the start, likewise: 0.352.
"""
import csv
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from arguments import add_precision, recipe_parser
from evaluate import measure, report, write_scores

from bg_remover import __version__
from bg_remover.generator import Pairs, all_steps, augment_pair, batches, view_steps
from bg_remover.images import read_image, read_mask
from bg_remover.base.files import write_bytes
from bg_remover.metrics import calibration_error, reliability, score
from bg_remover.model import build_unet, freeze_encoder
from bg_remover.removal import Remover
from bg_remover.training import bce_jaccard_loss, evaluate, photo_jaccard_loss, train
from bg_remover.base.export import export_onnx, save_half_weights
from bg_remover.base.runs import read_history, write_history
from bg_remover.base.optimizers import warm_cosine

root = Path(__file__).resolve().parent.parent
weights_folder, histories = root / "bg_remover/weights", root / "nbs/histories"
net = dict(backbone="mobilenetv2", decoder_filters=(64, 48, 32, 24))
batch_size = 16
# how often a source comes in each turn, if not once: portraits are easier
street = {"coco": 2, "voc": 2}
# sizes to use it at; it works on windows of larger pictures while it learns
sides = (256, 320, 352, 384, 416)
patience = 60 # milliseconds that the network may take on two cores
min_peaks = (0.0, 0.8, 0.85, 0.9, 0.95) # what a region has to reach somewhere, or it is left out
affordable = 0.002 # of IoU, for leaving doubtful regions out
thresholds = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
licences = ("Weights: Apache-2.0. DeepLab's, which the encoder started from and which gives the "
            "second opinion: Apache-2.0. COCO annotations: CC BY 4.0. The training photos keep "
            "their owners' licences and are not redistributed")
source_names = {
    "background": "photos without people",
    "ccp": "full-length street photos (Clothing Co-Parsing)",
    "voc": "PASCAL VOC 2012 photos with people",
    "coco-train2017": "COCO train2017 photos with people",
    "coco-val2017": "COCO val2017 photos with people (none of those measured below)",
    "portrait": "portraits (Shen et al., 2016)",
}


class Phase(NamedTuple):
    "A stretch of training with one schedule."
    folder: str
    side: int # of the square input
    epochs: int
    rate: float # the highest
    frozen: float # share of the encoder's layers that stays frozen
    encoder_lr_scale: float # of the rate
    loss: Callable = bce_jaccard_loss
    often: dict[str, int] = street # how often a source comes in each turn, if not once
    vary: Callable = augment_pair
    steps: int = 50 # in an epoch
    paste: float = 0.2 # share of photos in front of which people are pasted
    # weights whose mean it starts from; none: the best epoch of the phase before
    start: tuple[str, ...] = ()


def half_coloured(frame: np.ndarray, mask: np.ndarray, image_size: tuple[int, int],
                  rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    "`augment_pair` with another light on every second photo only."
    return augment_pair(frame, mask, image_size, rng,
                        all_steps if rng.random() < 0.5 else view_steps)


phases = [
    Phase("0-decoder", 256, 12, 2e-3, 1.0, 1.0),
    Phase("1-encoder", 256, 44, 1e-3, 0.1, 0.1),
    Phase("2-larger", 352, 6, 3e-4, 0.1, 0.1),
    Phase("3-photos", 256, 16, 5e-4, 0.1, 0.1, photo_jaccard_loss, street | {"background": 2}),
    Phase("4-longer", 256, 20, 1e-3, 0.1, 0.3, photo_jaccard_loss,
          {"coco": 4, "voc": 4, "background": 2}, half_coloured, 200),
    Phase("5-pasted", 320, 9, 5e-4, 0.1, 0.1, photo_jaccard_loss,
          {"coco": 4, "voc": 4, "background": 4}, steps=100, paste=0.5,
          start=("2-larger/best.weights.h5", "3-photos/last-16.weights.h5",
                 "4-longer/last-20.weights.h5")),
]


def split_rows(data: Path, split: str) -> list[dict]:
    "Name and source of the pairs of one split."
    with open(data / "pairs/index.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def split_pairs(data: Path, split: str, often: dict[str, int] | None = None) -> Pairs:
    "The pairs of one split, those of some sources several times."
    often = often or {}
    names = [row["name"] for row in split_rows(data, split)
             for _ in range(often.get(row["source"].partition("-")[0], 1))]
    return Pairs(data / "pairs/frames", data / "pairs/masks", names=names)


# their mean is the network that ships
averaged = ("5-pasted/best.weights.h5", "5-pasted/last-9.weights.h5")


def load_mean(model: keras.Model, paths: list[Path]):
    "Put the mean of several files of weights into a network."
    found = []
    for path in paths:
        model.load_weights(path)
        found.append(model.get_weights())
    model.set_weights([np.mean(same, axis=0) for same in zip(*found)])


def train_all(data: Path, run_dir: Path, encoder: str):
    "Run the phases that are not complete yet, each from the best epoch of the one before."
    keras.utils.set_random_seed(0)
    weights = None
    for seed, phase in enumerate(phases):
        run, size = run_dir / phase.folder, (phase.side, phase.side)
        if len(read_history(run / "history.csv")) < phase.epochs:
            model = build_unet(image_size=size, encoder_weights=None if weights else encoder, **net)
            freeze_encoder(model, phase.frozen)
            if phase.start: load_mean(model, [run_dir / file for file in phase.start])
            elif weights: model.load_weights(weights)
            pairs = batches(split_pairs(data, "train", phase.often), size, batch_size, shuffle=True,
                            augment=phase.vary, paste=phase.paste, seed=seed, steps=phase.steps)
            held_out = batches(split_pairs(data, "choose"), size, batch_size)
            train(model, pairs, held_out, run, phase.epochs,
                  warm_cosine(phase.rate, phase.steps * phase.epochs), weight_decay=1e-4,
                  encoder_lr_scale=phase.encoder_lr_scale, loss=phase.loss)
        weights = run / "best.weights.h5"


# what the card says always; names in braces are filled in
card_template = Path(__file__).with_name("model_card.md")


def false_alarms() -> str:  # Markdown
    "How often it finds somebody where nobody is, as benchmarks/false_alarms.py found it last."
    with open(root / "benchmarks/results/false_alarms.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds, lines = list(dict.fromkeys(row["photos"] for row in rows)), []
    for name in dict.fromkeys(row["network"] for row in rows):
        shares = {row["photos"]: row for row in rows if row["network"] == name}
        cells = (f"{100 * float(shares[kind]['alarms']):.1f} %" for kind in kinds)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    counts = {row["photos"]: row["count"] for row in rows}
    head = " | ".join(f"{kind}, {counts[kind]} photos" for kind in kinds)
    return "\n".join([f"| network | {head} |", "|---|" + "--:|" * len(kinds), *lines])


def second_opinion() -> str:  # Markdown
    "What recipes/second_opinion.py found by way to look and by DeepLab's share."
    with open(root / "benchmarks/results/second_opinion.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = ["| look | share | threshold | least peak | IoU | small people | street | "
             "false alarms | around people |", "|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        gains = (f"{float(row[f'{source} gain']):+.3f}" for source in ("coco-more", "ccp"))
        alarms = (f"{100 * float(row[name]):.1f} %" for name in ("false alarms", "around people"))
        limits = (f"{float(row[name]):g}" for name in ("share", "threshold", "peak"))
        cells = (row["looks"], *limits, f"{float(row['choose']):.3f}", *gains, *alarms)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def kinds_table() -> str:  # Markdown
    "IoU by kind of photo, as benchmarks/kinds.py found it last."
    with open(root / "benchmarks/results/kinds.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = ["| kind | photos | IoU | 95 % interval |", "|---|--:|--:|:-:|"]
    for row in rows:
        iou, low, high = (float(row[name]) for name in ("iou", "low", "high"))
        lines.append(f"| {row['kind']} | {row['photos']} | {iou:.3f} | {low:.3f} to {high:.3f} |")
    return "\n".join(lines)


def describe(phase: Phase) -> str:
    "A phase as an entry of the card's list."
    start = "DeepLab's encoder" if phase is phases[0] else "the best epoch before"
    if phase.start: start = "the mean of " + " and ".join(f"`{file}`" for file in phase.start)
    share = f"{phase.encoder_lr_scale:.0%} of it for the encoder"
    encoder = "the encoder frozen" if phase.frozen == 1 else share
    often = ", ".join(f"{name} {count} ×" for name, count in phase.often.items())
    return (f"- **{phase.folder}**, from {start}: {batch_size * phase.steps * phase.epochs:,} "
            f"photo passes at {phase.side} × {phase.side}, highest rate {phase.rate:g}, {encoder}; "
            f"`{phase.loss.__name__}`, `{phase.vary.__name__}`, people pasted in front of "
            f"{phase.paste:.0%}; in each turn {often}")


def trained(run_dir: Path, side: int, files: tuple[str, ...] = averaged) -> keras.Model:
    "The mean of some weights, for photos of another size; the weights do not depend on it."
    model = build_unet(image_size=(side, side), encoder_weights=None, **net)
    load_mean(model, [run_dir / file for file in files])
    return model


def export_for(model: keras.Model, work: str, **settings) -> Remover:
    "The network as a user would have it."
    export_onnx(model, Path(work) / "net.onnx", **settings)
    return Remover(Path(work) / "net.onnx")


def milliseconds(remover: Remover, photo: np.ndarray, runs: int = 30) -> float:
    """Median time of the network, all cores. Not by turns: the threads of a network that was
    just asked stay awake for a while."""
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        remover.answer(photo)
        times.append(1000 * (time.perf_counter() - begun))
    return float(np.median(times))


def try_sides(data: Path, run_dir: Path) -> dict[int, tuple[float, float]]:
    """Mean IoU per photo on the `choose` split, and milliseconds, by the size at which the
    network is used."""
    removers, pairs = {}, split_pairs(data, "choose")
    for side in sides:
        with tempfile.TemporaryDirectory() as work:
            removers[side] = export_for(trained(run_dir, side), work)
    print("exported; now their times", flush=True)
    times = {side: milliseconds(remover, pairs[0][0]) for side, remover in removers.items()}
    print({side: round(ms, 1) for side, ms in times.items()}, "ms", flush=True)
    found = {side: (evaluate(remover.probability, pairs)["iou"], times[side])
             for side, remover in removers.items()}
    for side, (iou, ms) in found.items():
        print(f"used at {side} × {side}: IoU {iou:.3f}, {ms:.0f} ms", flush=True)
    return found


def try_ends(data: Path, run_dir: Path, side: int) -> dict[str, float]:
    "Mean IoU per photo on the `choose` split, of the ends of the phases and of their mean."
    found, pairs = {}, split_pairs(data, "choose")
    for files in (*zip(averaged), averaged):
        with tempfile.TemporaryDirectory() as work:
            remover = export_for(trained(run_dir, side, files), work)
        found[" and ".join(files)] = evaluate(remover.probability, pairs)["iou"]
    return found


def choose_threshold(data: Path, model: keras.Model) -> tuple[dict[float, float], np.ndarray]:
    """Mean IoU per photo on the `choose` split by threshold, and the reliability of its
    probabilities."""
    pairs, ious, table = split_pairs(data, "choose"), {threshold: [] for threshold in thresholds}, 0
    with tempfile.TemporaryDirectory() as work:
        remover = export_for(model, work)
        for frame, mask in zip(pairs.frame_paths, map(read_mask, pairs.mask_paths)):
            probability = remover.probability(read_image(frame))
            table = table + reliability(probability, mask)
            for threshold in thresholds:
                ious[threshold].append(score(probability, mask, threshold)["iou"])
    return {threshold: float(np.mean(each)) for threshold, each in ious.items()}, table


def try_min_peaks(data: Path, model: keras.Model, threshold: float) -> dict[float, float]:
    "Mean IoU per photo on the `choose` split, by what a region has to reach somewhere."
    found, pairs = {}, split_pairs(data, "choose")
    for min_peak in min_peaks:
        with tempfile.TemporaryDirectory() as work:
            remover = export_for(model, work, threshold=threshold, min_peak_probability=min_peak)
        found[min_peak] = evaluate(remover.probability, pairs, threshold)["iou"]
        print(f"regions that reach {min_peak}: IoU {found[min_peak]:.4f}", flush=True)
    return found


def join_histories(run_dir: Path) -> list[dict]: # a row an epoch, with the photo passes until then
    "The histories of all phases, one after the other."
    joined, passes = [], 0
    for phase in phases:
        for row in read_history(run_dir / phase.folder / "history.csv"):
            passes += batch_size * phase.steps
            joined.append(dict(samples_seen=passes) | row)
    return joined


def half_costs(full: Remover, half: Remover, pairs: Pairs) -> tuple[float, float]:
    """What float16 weights change: the mean difference of the probability, and the share of
    pixels that change side."""
    differences, sides_changed = [], []
    for frame in map(read_image, pairs.frame_paths):
        one, other = full.answer(frame), half.answer(frame)
        differences.append(np.abs(one - other).mean())
        sides_changed.append(((one >= half.threshold) != (other >= half.threshold)).mean())
    return float(np.mean(differences)), float(np.mean(sides_changed))


class Limits(NamedTuple):
    "What was chosen for a network on the split `choose`, and the figures that chose it."
    by_threshold: dict[float, float] # IoU
    threshold: float
    by_min_peak: dict[float, float] # IoU
    min_peak: float
    reliability: np.ndarray # of its probabilities


def best_side(by_side: dict[int, tuple[float, float]]) -> int:
    "The size with the highest IoU, of those at which the network is quick enough."
    quick = (side for side in sides if by_side[side][1] <= patience)
    return max(quick, key=lambda side: by_side[side][0])


def choose_limits(data: Path, model: keras.Model) -> Limits:
    "The threshold with the highest IoU, then the highest peak that costs little."
    by_threshold, table = choose_threshold(data, model)
    threshold = max(by_threshold, key=by_threshold.get)
    by_min_peak = try_min_peaks(data, model, threshold)
    min_peak = max(each for each in min_peaks if by_min_peak[each] >= by_min_peak[0.0] - affordable)
    return Limits(by_threshold, threshold, by_min_peak, min_peak, table)


def keep_histories(run_dir: Path, limits: Limits) -> int: # photo passes of all phases
    "Keep what the notebooks draw: the epochs, and how reliable the probabilities are."
    np.savetxt(histories / "person_reliability.csv", limits.reliability, "%.2f", delimiter=",",
               header="pixels,probability,person", comments="")
    history = join_histories(run_dir)
    write_history(histories / "person_model.csv", history)
    return history[-1]["samples_seen"]


def measure_val(data: Path, remover: Remover) -> str:
    "The figures on COCO's val photos, which confirm; the score of each photo is kept."
    names, scores = measure(data / "coco", "val", remover.probability)
    write_scores(root / "benchmarks/results/person_model_val.csv", names, scores)
    return report(scores)


def write_weights(model: keras.Model, side: int, limits: Limits, **description):
    "The files that ship: to cut out, and to train further."
    export_onnx(model, weights_folder / "person.onnx", limits.threshold, limits.min_peak, half=True,
                version=__version__, **description)
    save_half_weights(model, weights_folder / "person.weights.h5")
    chosen = dict(threshold=limits.threshold, min_peak_probability=limits.min_peak)
    for name, values in (("person.json", net | dict(image_size=(side, side))),
                         ("start.json", chosen)):
        write_bytes(weights_folder / name, (json.dumps(values, indent=1) + "\n").encode())


def recipe_facts(data: Path, sources: dict[str, int]) -> dict: # of the card
    "What follows from the recipe and its photos alone."
    return dict(backbone=net["backbone"], decoder=", ".join(map(str, net["decoder_filters"])),
                sources="\n".join(f"- {source_names[name]}: {count:,}"
                                  for name, count in sources.items()),
                chosen=len(split_rows(data, "choose")), phases="\n".join(map(describe, phases)),
                patience=patience, affordable=affordable, kinds=kinds_table(),
                false_alarms=false_alarms(), second_opinion=second_opinion(), licences=licences)


def choice_facts(by_side: dict[int, tuple[float, float]], side: int, by_ends: dict[str, float],
                 limits: Limits) -> dict: # of the card
    "What was tried on the split `choose`, and what was chosen there."
    tried = (f"| {size} × {size} | {iou:.3f} | {ms:.0f} |" for size, (iou, ms) in by_side.items())
    ends = (f"| {name} | {iou:.3f} |" for name, iou in by_ends.items())
    return dict(side=side, half=side // 2, tried="\n".join(tried), ends="\n".join(ends),
                threshold=limits.threshold, at_threshold=limits.by_threshold[limits.threshold],
                at_half=limits.by_threshold[0.5], min_peak=limits.min_peak,
                at_min_peak=limits.by_min_peak[limits.min_peak], without=limits.by_min_peak[0.0],
                calibration=calibration_error(limits.reliability))


def ship(data: Path, run_dir: Path, remark: str):
    "Export, keep the histories, measure, and write the model's card."
    by_side = try_sides(data, run_dir)
    side = best_side(by_side)
    model = trained(run_dir, side)
    limits = choose_limits(data, model)
    samples_seen = keep_histories(run_dir, limits)
    with tempfile.TemporaryDirectory() as work: # it is in memory from here on
        full = export_for(model, work, min_peak_probability=limits.min_peak)
    figures = measure_val(data, full)
    sources = dict(sorted(Counter(row["source"] for row in split_rows(data, "train")).items()))
    write_weights(model, side, limits, trained_on=sources,
                  measured="photos of COCO val2017 that were not trained on, float32 weights, "
                  f"threshold 0.5: {figures}", samples_seen=samples_seen, licences=licences)
    half = Remover(weights_folder / "person.onnx")
    difference, changed = half_costs(full, half, split_pairs(data, "choose"))
    facts = recipe_facts(data, sources)
    facts |= choice_facts(by_side, side, try_ends(data, run_dir, side), limits)
    card = card_template.read_text(encoding="utf-8").format(
        weights=model.count_params(), samples_seen=samples_seen, difference=difference,
        changed=changed, remark=f"{remark}\n\n" if remark else "",
        measured="\n".join(f"- {line}" for line in figures.splitlines()), **facts)
    write_bytes(weights_folder / "MODEL_CARD.md", card.encode())


if __name__ == "__main__":
    parser = recipe_parser(__doc__)
    parser.add_argument("what", choices=("train", "ship"))
    parser.add_argument("data", type=Path)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("encoder", nargs="?",
                        help="to train: encoder weights from deeplab_encoder.py")
    add_precision(parser)
    parser.add_argument("--remark", default="",
                        help="what a reader of the card must know about this run")
    parser.add_argument("--times", type=int, default=1,
                        help="so many times the steps, for as many times the photos; the same for "
                        "train and ship")
    options = parser.parse_args()
    phases = [phase._replace(steps=phase.steps * options.times) for phase in phases]
    if options.what == "train":
        keras.mixed_precision.set_global_policy(options.precision)
        train_all(options.data, options.run_dir, options.encoder)
    else: ship(options.data, options.run_dir, options.remark)
