"""Train the network that ships with the package, and ship it.

    python benchmarks/first_model.py train DATA RUN_DIR ENCODER   hours on two cores; called again it goes on
    python benchmarks/first_model.py ship DATA RUN_DIR            writes bg_remover/weights/ and the model's card

DATA holds pairs/ (frames, masks, index.csv with name, source, split) and coco/ (COCO's own layout, for the closing
measurement). ENCODER is an .h5 file with ImageNet weights for mobilenetv2, or the word imagenet, which downloads them.
Three phases: the decoder alone on small photos, then with the
deeper part of the encoder, then on larger photos. The epoch is chosen by whole-set IoU on the `choose` split; COCO's val
photos only confirm. Tried and dropped: the whole encoder thawed at 5e-4 (five epochs on, IoU was still 0.07 lower).
"""
import argparse
import csv
import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import keras

from evaluate import measure, report, write_scores

from bg_remover import __version__
from bg_remover.generator import Pairs, augment_pair, batches
from bg_remover.images import write_bytes
from bg_remover.model import build_unet, freeze_encoder
from bg_remover.removal import Remover
from bg_remover.training import evaluate, export_onnx, read_history, save_half_weights, train

root = Path(__file__).resolve().parent.parent
net = dict(backbone="mobilenetv2", decoder_filters=(64, 48, 32, 24, 16))
batch_size, steps = 16, 50
sides = (192, 224, 256) # up to the original tutorial's size; the card says what larger ones gave
licences = ("Weights: Apache-2.0. ImageNet encoder: Apache-2.0. COCO annotations: CC BY 4.0. The training photos keep their owners' licences "
            "and are not redistributed")
source_names = {
    "background": "photos without people", "ccp": "full-length street photos (Clothing Co-Parsing)", "voc": "PASCAL VOC 2012 photos with people",
    "coco-train2017": "COCO train2017 photos with people", "coco-val2017": "COCO val2017 photos with people (none of those measured below)",
    "portrait": "portraits (Shen et al., 2016)",
}
phases = [ # folder, side of the square input, epochs, highest learning rate, share of the encoder's layers that stays frozen
    ("0-128", 128, 8, 2e-3, 1.0),
    ("1-160", 160, 12, 3e-4, 0.4),
    ("2-192", 192, 7, 2e-4, 0.4),
]


def split_names(data: Path, split: str) -> list[str]:
    "Names of the pairs of one split."
    with open(data / "pairs/index.csv", newline="") as file:
        return [row["name"] for row in csv.DictReader(file) if row["split"] == split]


def split_pairs(data: Path, split: str) -> Pairs:
    return Pairs(data / "pairs/frames", data / "pairs/masks", names=split_names(data, split))


def warm_cosine(rate: float, total: int) -> keras.optimizers.schedules.LearningRateSchedule:
    "Up to `rate` in the first twentieth of the steps, then down along a cosine."
    warm = total // 20
    return keras.optimizers.schedules.CosineDecay(0.0, total - warm, warmup_target=rate, warmup_steps=warm, alpha=0.02)


def train_all(data: Path, run_dir: Path, encoder: str):
    keras.utils.set_random_seed(0)
    weights = None
    for seed, (folder, side, epochs, rate, frozen) in enumerate(phases):
        model = build_unet(image_size=(side, side), encoder_weights=encoder, **net)
        freeze_encoder(model, frozen)
        if weights: model.load_weights(weights)
        train(model, batches(split_pairs(data, "train"), (side, side), batch_size, shuffle=True, augment=augment_pair, seed=seed, steps=steps),
              batches(split_pairs(data, "choose"), (side, side), batch_size), run_dir / folder, epochs,
              warm_cosine(rate, steps * epochs), weight_decay=1e-4)
        weights = run_dir / folder / "best.weights.h5"


card_text = """# Model card: person.onnx

A U-Net that says, for each pixel of a photo, how probable it is that it belongs to a person. `benchmarks/first_model.py`
holds its recipe and wrote this page.

| | |
|---|---|
| network | {backbone} encoder, decoder with {decoder} filters; {weights:,} weights, stored as float16 |
| input | RGB 0–255, stretched to {side} × {side}; preprocessing is inside |
| output | probability of a person, {side} × {side}, stretched back; threshold {threshold} |
| files | `person.onnx` to cut out, `person.weights.h5` and `person.json` to train further (`pretrained_unet`) |

## Trained on

{sources}

{photo_passes:,} photo passes on two processor cores, in {phases} phases ({sizes} pixels); the encoder started from ImageNet weights.
Loss: binary cross-entropy + Jaccard. Augmentation: `augment_pair`. Epochs were chosen by whole-set IoU on {chosen} other COCO photos.

The size at which it is used was chosen on the same photos, by mean IoU per photo at their own size. It is larger than the size of
training, probably because training enlarges a window of the photo, so that people come out larger than in the whole photo:

| used at | IoU |
|---|---|
{tried}

{remark}
## Measured

On the COCO val2017 photos listed in `benchmarks/first_model_val.csv`, none of which was trained on; at their own
size, crowds ignored. Other photos of val2017 were trained on, so a measurement on all of val2017 would flatter.

{measured}

## Limits

It is a first model, trained for hours on two processor cores rather than for days on a GPU. It finds people who are large in
the photo; it misses small and partly hidden ones, takes things beside a person for a part of them, and its outlines are as coarse
as {side} × {side} pixels are. It was not tested for differences between groups of people.

## Licences

{licences}.
"""


def trained(run_dir: Path, side: int) -> keras.Model:
    "The last phase's best epoch, for photos of another size; the weights do not depend on it."
    model = build_unet(image_size=(side, side), encoder_weights=None, **net)
    model.load_weights(run_dir / phases[-1][0] / "best.weights.h5")
    return model


def choose_side(data: Path, run_dir: Path) -> tuple[int, dict[int, float]]:
    "The size at which the network is used, by mean IoU per photo on the `choose` split."
    found = {}
    for side in sides:
        with tempfile.TemporaryDirectory() as work:
            export_onnx(trained(run_dir, side), Path(work) / "net.onnx")
            found[side] = evaluate(Remover(Path(work) / "net.onnx").probability, split_pairs(data, "choose"))["iou"]
        print(f"used at {side} × {side}: IoU {found[side]:.3f}", flush=True)
    return max(found, key=found.get), found


def ship(data: Path, run_dir: Path, remark: str):
    "Export, keep the histories, measure, and write the model's card."
    side, found = choose_side(data, run_dir)
    model, weights, chosen = trained(run_dir, side), root / "bg_remover/weights", len(split_names(data, "choose"))
    histories = {name: read_history(run_dir / name / "history.csv") for name, *_ in phases}
    for name in histories: shutil.copyfile(run_dir / name / "history.csv", root / f"nbs/histories/first_model_{name}.csv")
    with open(data / "pairs/index.csv", newline="") as file:
        sources = Counter(row["source"] for row in csv.DictReader(file) if row["split"] == "train")
    facts = dict(photo_passes=batch_size * steps * sum(map(len, histories.values())), licences=licences,
                 chosen_by=f"mean IoU per photo {found[side]:.3f} on {chosen} COCO photos at their own size")
    export_onnx(model, weights / "person.onnx", half=True, version=__version__, trained_on=dict(sorted(sources.items())), **facts)
    save_half_weights(model, weights / "person.weights.h5")
    write_bytes(weights / "person.json", (json.dumps(net | dict(image_size=(side, side)), indent=1) + "\n").encode())
    remover = Remover(weights / "person.onnx")
    names, scores = measure(data / "coco", "val", remover)
    write_scores(root / "benchmarks/first_model_val.csv", names, scores)
    write_bytes(weights / "MODEL_CARD.md", card_text.format(
        backbone=net["backbone"], decoder=", ".join(map(str, net["decoder_filters"])), weights=model.count_params(), side=side, threshold=remover.threshold,
        sources="\n".join(f"- {source_names[name]}: {count:,}" for name, count in sorted(sources.items())), phases=len(phases), chosen=chosen, remark=f"{remark}\n" if remark else "",
        sizes=", ".join(str(size) for _, size, *_ in phases), tried="\n".join(f"| {size} × {size} | {value:.3f} |" for size, value in found.items()),
        measured="\n".join(f"- {line}" for line in report(scores).splitlines()), **facts).encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "ship"))
    parser.add_argument("data", type=Path)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("encoder", nargs="?", default="imagenet")
    parser.add_argument("--remark", default="", help="what a reader of the card must know about this run")
    options = parser.parse_args()
    if options.what == "train": train_all(options.data, options.run_dir, options.encoder)
    else: ship(options.data, options.run_dir, options.remark)
