"""Train the network that ships with the package, and ship it.

    python benchmarks/person_model.py train DATA RUN_DIR ENCODER.h5 [--precision mixed_bfloat16]   an hour or two on two cores; called again it goes on
    python benchmarks/person_model.py ship DATA RUN_DIR               writes bg_remover/weights/ and the model's card

DATA holds pairs/ (frames, masks, index.csv with name, source, split) and coco/ (COCO's own layout, for the closing
measurement). ENCODER.h5 comes from deeplab_encoder.py. The phases: the decoder alone, then the encoder with it, in small steps, then both on larger
windows; then both again with a loss that counts photos, not pixels, and photos without people more often. The network that ships is the mean of
the weights at the end of the last two phases (Wortsman et al., 2022, arXiv:2203.05482).
Processors that multiply bfloat16 (lscpu says avx512_bf16) train faster with --precision mixed_bfloat16, above all with an allocator that keeps
its memory (MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456): a step of phase 1 took 2.2 s in float32, with or
without; 1.7 s in bfloat16, and 0.9 s with both (one try on two cores, other work beside it).
Whatever is chosen (epoch, input size, threshold) is chosen on the split `choose`; COCO's val photos only confirm.
Tried on 150 steps of 192 × 192, one seed each, IoU on `choose` at 256: encoder from DeepLab 0.601, from ImageNet 0.574; going
on from there with the encoder's deeper part at 5e-4, its filters not yet brought to one size: 0.534; everything but the first
layers at 1e-3 from the start, likewise: 0.352.
"""
import argparse
import csv
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from evaluate import measure, report, write_scores

from bg_remover import __version__
from bg_remover.generator import Pairs, augment_pair, batches
from bg_remover.images import read_image, read_mask, write_bytes
from bg_remover.metrics import calibration_error, reliability, score
from bg_remover.model import build_unet, freeze_encoder
from bg_remover.removal import Remover
from bg_remover.training import bce_jaccard_loss, evaluate, export_onnx, photo_jaccard_loss, read_history, save_half_weights, train, warm_cosine

root = Path(__file__).resolve().parent.parent
net = dict(backbone="mobilenetv2", decoder_filters=(64, 48, 32, 24))
batch_size, steps, paste = 16, 50, 0.2
street = ("coco", "voc") # sources that come twice in each turn: portraits are easier
sides = (256, 320, 352, 384, 416) # sizes to use it at; it works on windows of larger pictures while it learns
patience = 60 # milliseconds that the network may take on two cores
sures = (0.0, 0.8, 0.85, 0.9, 0.95) # what a region has to reach somewhere, or it is left out
affordable = 0.002 # of IoU, for leaving doubtful regions out
thresholds = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
licences = ("Weights: Apache-2.0. DeepLab's, which the encoder started from: Apache-2.0. COCO annotations: CC BY 4.0. The training photos keep their owners' licences "
            "and are not redistributed")
source_names = {
    "background": "photos without people", "ccp": "full-length street photos (Clothing Co-Parsing)", "voc": "PASCAL VOC 2012 photos with people",
    "coco-train2017": "COCO train2017 photos with people", "coco-val2017": "COCO val2017 photos with people (none of those measured below)",
    "portrait": "portraits (Shen et al., 2016)",
}


class Phase(NamedTuple):
    "A stretch of training with one schedule."
    folder: str
    side: int # of the square input
    epochs: int
    rate: float # the highest
    frozen: float # share of the encoder's layers that stays frozen
    encoder_share: float # of the rate
    loss: Callable = bce_jaccard_loss
    twice: tuple[str, ...] = street # sources that come twice in each turn


phases = [
    Phase("0-decoder", 256, 12, 2e-3, 1.0, 1.0),
    Phase("1-encoder", 256, 44, 1e-3, 0.1, 0.1),
    Phase("2-larger", 352, 6, 3e-4, 0.1, 0.1),
    Phase("3-photos", 256, 16, 5e-4, 0.1, 0.1, photo_jaccard_loss, (*street, "background")),
]


def split_rows(data: Path, split: str) -> list[dict]:
    "Name and source of the pairs of one split."
    with open(data / "pairs/index.csv", newline="") as file: return [row for row in csv.DictReader(file) if row["split"] == split]


def split_pairs(data: Path, split: str, twice: tuple[str, ...] = ()) -> Pairs:
    "The pairs of one split, those of some sources twice."
    names = [row["name"] for row in split_rows(data, split) for _ in range(1 + row["source"].startswith(twice))]
    return Pairs(data / "pairs/frames", data / "pairs/masks", names=names)


averaged = ("2-larger/best.weights.h5", "3-photos/last-16.weights.h5") # their mean is the network that ships


def train_all(data: Path, run_dir: Path, encoder: str):
    "Run the phases that are not complete yet, each from the best epoch of the one before."
    keras.utils.set_random_seed(0)
    weights = None
    for seed, phase in enumerate(phases):
        run, size = run_dir / phase.folder, (phase.side, phase.side)
        if len(read_history(run / "history.csv")) < phase.epochs:
            model = build_unet(image_size=size, encoder_weights=None if weights else encoder, **net)
            freeze_encoder(model, phase.frozen)
            if weights: model.load_weights(weights)
            pairs = batches(split_pairs(data, "train", phase.twice), size, batch_size, shuffle=True, augment=augment_pair, paste=paste, seed=seed, steps=steps)
            train(model, pairs, batches(split_pairs(data, "choose"), size, batch_size), run, phase.epochs,
                  warm_cosine(phase.rate, steps * phase.epochs), weight_decay=1e-4, encoder_share=phase.encoder_share, loss=phase.loss)
        weights = run / "best.weights.h5"


card_text = """# Model card: person.onnx

A U-Net that says, for each pixel of a photo, how probable it is that it belongs to a person. `benchmarks/person_model.py`
holds its recipe and wrote this page.

| | |
|---|---|
| network | {backbone} encoder, decoder with {decoder} filters; {weights:,} weights, stored as float16 |
| input | RGB 0–255, stretched to {side} × {side}; preprocessing is inside |
| output | probability of a person, computed at {half} × {half}, enlarged to {side} × {side}, stretched back; threshold {threshold}; regions count that reach {sure} somewhere |
| files | `person.onnx` to cut out, `person.weights.h5` and `person.json` to train further (`pretrained_unet`) |

## Trained on

{sources}

{photo_passes:,} photo passes on two processor cores.
The encoder started from the backbone of a published DeepLab (`benchmarks/deeplab_encoder.py`), which had learnt on PASCAL VOC and,
before that, on ImageNet. Each phase started from the best epoch of the one before:

| phase | windows | photo passes | highest rate | of it for the encoder | loss | came twice in each turn |
|---|---|---|---|---|---|---|
{phases}

Augmentation: `augment_pair`, and in front of every fifth photo the people of another. The network is the mean of the weights at the end of
the last two phases (Wortsman et al., 2022, arXiv:2203.05482), which is better than either (IoU as below, at 0.5):

| weights | IoU |
|---|---|
{ends}

What was chosen was chosen on {chosen} other COCO photos: the epoch by whole-set IoU, and by mean IoU per photo at their own size
the size at which the network is used

| used at | IoU | milliseconds for the network, two cores |
|---|---|---|
{tried}

(the best of those within {patience}),

and the threshold ({at_threshold:.3f} at {threshold}, {at_half:.3f} at 0.5). Regions that reach a probability of {sure} nowhere are left out:
the highest value tried that costs less than {affordable} of IoU there ({at_sure:.4f} with it, {without:.4f} without). On these photos the expected calibration error of its probabilities is {calibration:.3f};
storing the weights as float16 changes the probability by {difference:.5f} on average, and {changed:.3%} of the pixels change side.

{remark}## Measured

On the COCO val2017 photos listed in `benchmarks/person_model_val.csv`, none of which was trained on; threshold 0.5, at their own
size, crowds ignored. Other photos of val2017 were trained on, so a measurement on all of val2017 would flatter.

{measured}

`benchmarks/quality.py` compares it with others, and counts false alarms on photos without people.

## Limits

It was trained on two processor cores, rather than for days on a GPU. It finds people who are large in the photo; it misses small and
partly hidden ones and takes things beside a person for a part of them. Its training masks are polygons, so hair is not in them.
It was not tested for differences between groups of people.

## Licences

{licences}.
"""


def describe(phase: Phase) -> str:
    "A phase as a row of the card's table."
    encoder = "frozen" if phase.frozen == 1 else f"{phase.encoder_share:.0%}"
    return (f"| {phase.folder} | {phase.side} × {phase.side} | {batch_size * steps * phase.epochs:,} | {phase.rate:g} | {encoder} | `{phase.loss.__name__}` | "
            f"{', '.join(phase.twice)} |")


def trained(run_dir: Path, side: int, files: tuple[str, ...] = averaged) -> keras.Model:
    "The mean of some weights, for photos of another size; the weights do not depend on it."
    model, found = build_unet(image_size=(side, side), encoder_weights=None, **net), []
    for file in files:
        model.load_weights(run_dir / file)
        found.append(model.get_weights())
    model.set_weights([np.mean(same, axis=0) for same in zip(*found)])
    return model


def export_for(model: keras.Model, work: str, **settings) -> Remover:
    "The network as a user would have it."
    export_onnx(model, Path(work) / "net.onnx", **settings)
    return Remover(Path(work) / "net.onnx")


def milliseconds(remover: Remover, photo: np.ndarray, runs: int = 30) -> float:
    "Median time of the network, all cores. Not by turns: the threads of a network that was just asked stay awake for a while."
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        remover.answer(photo)
        times.append(1000 * (time.perf_counter() - begun))
    return float(np.median(times))


def try_sides(data: Path, run_dir: Path) -> dict[int, tuple[float, float]]:
    "Mean IoU per photo on the `choose` split, and milliseconds, by the size at which the network is used."
    removers, pairs = {}, split_pairs(data, "choose")
    for side in sides:
        with tempfile.TemporaryDirectory() as work: removers[side] = export_for(trained(run_dir, side), work)
    print("exported; now their times", flush=True)
    times = {side: milliseconds(remover, pairs[0][0]) for side, remover in removers.items()}
    print({side: round(ms, 1) for side, ms in times.items()}, "ms", flush=True)
    found = {side: (evaluate(remover.probability, pairs)["iou"], times[side]) for side, remover in removers.items()}
    for side, (iou, ms) in found.items(): print(f"used at {side} × {side}: IoU {iou:.3f}, {ms:.0f} ms", flush=True)
    return found


def try_ends(data: Path, run_dir: Path, side: int) -> dict[str, float]:
    "Mean IoU per photo on the `choose` split, of the ends of the phases and of their mean."
    found = {}
    for files in (*zip(averaged), averaged):
        with tempfile.TemporaryDirectory() as work: remover = export_for(trained(run_dir, side, files), work)
        found[" and ".join(files)] = evaluate(remover.probability, split_pairs(data, "choose"))["iou"]
    return found


def choose_threshold(data: Path, model: keras.Model) -> tuple[dict[float, float], np.ndarray]:
    "Mean IoU per photo on the `choose` split by threshold, and the reliability of its probabilities."
    pairs, ious, table = split_pairs(data, "choose"), {threshold: [] for threshold in thresholds}, 0
    with tempfile.TemporaryDirectory() as work:
        remover = export_for(model, work)
        for frame, mask in zip(pairs.frame_paths, map(read_mask, pairs.mask_paths)):
            probability = remover.probability(read_image(frame))
            table = table + reliability(probability, mask)
            for threshold in thresholds: ious[threshold].append(score(probability, mask, threshold)["iou"])
    return {threshold: float(np.mean(each)) for threshold, each in ious.items()}, table


def try_sures(data: Path, model: keras.Model, threshold: float) -> dict[float, float]:
    "Mean IoU per photo on the `choose` split, by what a region has to reach somewhere."
    found = {}
    for sure in sures:
        with tempfile.TemporaryDirectory() as work: remover = export_for(model, work, threshold=threshold, sure=sure)
        found[sure] = evaluate(remover.probability, split_pairs(data, "choose"), threshold)["iou"]
        print(f"regions that reach {sure}: IoU {found[sure]:.4f}", flush=True)
    return found


def half_costs(full: Remover, half: Remover, pairs: Pairs) -> tuple[float, float]:
    "What float16 weights change: the mean difference of the probability, and the share of pixels that change side."
    differences, sides_changed = [], []
    for frame in map(read_image, pairs.frame_paths):
        one, other = full.answer(frame), half.answer(frame)
        differences.append(np.abs(one - other).mean())
        sides_changed.append(((one >= half.threshold) != (other >= half.threshold)).mean())
    return float(np.mean(differences)), float(np.mean(sides_changed))


def ship(data: Path, run_dir: Path, remark: str):
    "Export, keep the histories, measure, and write the model's card."
    by_side = try_sides(data, run_dir)
    side = max((side for side in sides if by_side[side][1] <= patience), key=lambda side: by_side[side][0])
    model, weights = trained(run_dir, side), root / "bg_remover/weights"
    by_threshold, table = choose_threshold(data, model)
    threshold = max(by_threshold, key=by_threshold.get)
    by_sure = try_sures(data, model, threshold)
    sure = max(each for each in sures if by_sure[each] >= by_sure[0.0] - affordable)
    np.savetxt(root / "nbs/histories/person_reliability.csv", table, "%.2f", delimiter=",", header="pixels,probability,person", comments="")
    histories = {name: read_history(run_dir / name / "history.csv") for name in (phase.folder for phase in phases)}
    for name in histories: shutil.copyfile(run_dir / name / "history.csv", root / f"nbs/histories/person_model_{name}.csv")
    with tempfile.TemporaryDirectory() as work: full = export_for(model, work, sure=sure) # it is in memory from here on
    names, scores = measure(data / "coco", "val", full.probability)
    write_scores(root / "benchmarks/person_model_val.csv", names, scores)
    sources = Counter(row["source"] for row in split_rows(data, "train"))
    facts = dict(photo_passes=batch_size * steps * sum(map(len, histories.values())), licences=licences)
    export_onnx(model, weights / "person.onnx", threshold, sure, half=True, version=__version__, trained_on=dict(sorted(sources.items())),
                measured=f"photos of COCO val2017 that were not trained on, float32 weights, threshold 0.5: {report(scores)}", **facts)
    difference, changed = half_costs(full, Remover(weights / "person.onnx"), split_pairs(data, "choose"))
    save_half_weights(model, weights / "person.weights.h5")
    write_bytes(weights / "person.json", (json.dumps(net | dict(image_size=(side, side)), indent=1) + "\n").encode())
    write_bytes(weights / "MODEL_CARD.md", card_text.format(
        backbone=net["backbone"], decoder=", ".join(map(str, net["decoder_filters"])), weights=model.count_params(), side=side, half=side // 2, threshold=threshold,
        sources="\n".join(f"- {source_names[name]}: {count:,}" for name, count in sorted(sources.items())), chosen=len(split_rows(data, "choose")),
        phases="\n".join(map(describe, phases)), ends="\n".join(f"| {name} | {value:.3f} |" for name, value in try_ends(data, run_dir, side).items()), tried="\n".join(f"| {size} × {size} | {value:.3f} | {ms:.0f} |" for size, (value, ms) in by_side.items()), patience=patience,
        at_threshold=by_threshold[threshold], at_half=by_threshold[0.5], sure=sure, affordable=affordable, at_sure=by_sure[sure], without=by_sure[0.0], calibration=calibration_error(table), difference=difference, changed=changed, remark=f"{remark}\n\n" if remark else "",
        measured="\n".join(f"- {line}" for line in report(scores).splitlines()), **facts).encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "ship"))
    parser.add_argument("data", type=Path)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("encoder", nargs="?", help="to train: encoder weights from deeplab_encoder.py")
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"), help="in which training multiplies; weights stay float32")
    parser.add_argument("--remark", default="", help="what a reader of the card must know about this run")
    options = parser.parse_args()
    if options.what == "train":
        keras.mixed_precision.set_global_policy(options.precision)
        train_all(options.data, options.run_dir, options.encoder)
    else: ship(options.data, options.run_dir, options.remark)
