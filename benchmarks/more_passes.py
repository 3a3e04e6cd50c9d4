"""Does the shipped network get better by more of the same? From its weights on, more photo passes,
each picture harder.

    python benchmarks/more_passes.py train DATA RUN_DIR SEED [--precision mixed_bfloat16]
        [--ahead 4]
    python benchmarks/more_passes.py measure DATA RUN_DIR

`train` is called with the seeds 6, 7 and 8; called again it goes on. `measure` writes the table,
benchmarks/results/more_passes.csv. DATA is what person_model.py trains on. Each seed draws pictures
of its own: the photo may be smaller than the window, and people of up to three others stand in
front of it, anywhere and in any size (Ghiasi et al., 2021, arXiv:2012.07177). The three are
independent, so a GPU can train them at the same time. They and their means (Wortsman et al., 2022,
arXiv:2203.05482) are measured as the shipped network was chosen: mean IoU per photo on the split
`choose`, at 384 × 384 in and the photo's own size out, threshold 0.5, with a paired bootstrap
interval of the difference to it.

The table was made with KERAS_BACKEND=jax on one H200, all three seeds at once, --ahead 4, in
bfloat16: three minutes and a half until the first step was compiled, then some 700 photo passes a
second. The machine's time was over after 12 of the 18 epochs, when the steps were still more than a
quarter of the largest. Its copies of the photos were compressed harder than DATA's (WebP, quality
58 to 64, portraits at four fifths of their size), and what came back were weights stored as
float16.
"""
import argparse
import sys
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import cv2
import keras
import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "recipes"))
from person_model import export_for, load_mean, split_pairs
from quality import write_table

from bg_remover.generator import Batches, Pairs, as_truth, augment_pair, batches, paste_people
from bg_remover.metrics import bootstrap_interval
from bg_remover.model import freeze_encoder, pretrained_unet
from bg_remover.training import photo_jaccard_loss, score_pairs, train
from bg_remover.base.runs import read_history
from bg_remover.base.optimizers import warm_cosine

results = Path(__file__).parent / "results/more_passes.csv"
seeds = 6, 7, 8 # 0 to 5 are those of the shipped recipe's phases
side, used_at = 320, 384
# how often a source comes in each turn, if not once
often = {"coco": 4, "voc": 4, "background": 5}
chances = (0.45, 0.35, 0.15, 0.05) # of people of 0, 1, 2 and 3 other photos in front
epochs, steps, batch_size, rate = 18, 200, 32, 5e-4


def anywhere(frame: np.ndarray, mask: np.ndarray, image_size: tuple[int, int],
             rng: np.random.Generator, least: float, border: int) -> tuple[np.ndarray, np.ndarray]:
    """`augment_pair`, every second time in a smaller window (`least` of the side or more)
    somewhere on the picture; around it the photo is mirrored, and `border` (OpenCV's) says what
    the mask is."""
    if rng.random() < 0.5: return augment_pair(frame, mask, image_size, rng)
    share = rng.uniform(least, 1)
    height, width = small = tuple(round(length * share) for length in image_size)
    top, left = (rng.integers(whole - part + 1) for whole, part in zip(image_size, small))
    around = top, image_size[0] - height - top, left, image_size[1] - width - left
    frame, mask = augment_pair(frame, mask, small, rng)
    frame = cv2.copyMakeBorder(frame, *around, cv2.BORDER_REFLECT_101)
    return frame, cv2.copyMakeBorder(mask, *around, border, value=0)[..., None]


def crowded(pairs: Pairs | list, image_size: tuple[int, int]) -> Callable:
    "How `Batches` reads one pair, with people of none, one or several others in front."
    def read_one(index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        frame, mask = anywhere(*pairs[index], image_size, rng, 0.65, cv2.BORDER_REFLECT_101)
        for _ in range(rng.choice(len(chances), p=chances)):
            # whoever is pasted is pasted once
            other = anywhere(*pairs[int(rng.integers(len(pairs)))], image_size, rng, 0.3,
                             cv2.BORDER_CONSTANT)
            frame, mask = paste_people(frame, mask, *other)
        return frame, as_truth(mask)
    return read_one


def shipped_file() -> Path:
    return Path(str(resources.files("bg_remover") / "weights/person.weights.h5"))


def seed_dir(run_dir: Path, seed: int) -> Path: return run_dir / f"seed-{seed}"


def ends(run_dir: Path) -> list[Path]:
    "The last weights of each seed that was trained."
    return [path for seed in seeds for path in seed_dir(run_dir, seed).glob("last-*.weights.h5")]


def train_harder(data: Path, run_dir: Path, seed: int, ahead: int):
    """One seed. As in the shipped recipe's last phase, the first tenth of the encoder and its
    batch normalisation stay as they are."""
    pairs = split_pairs(data, "train", often)
    stream = Batches(crowded(pairs, (side, side)), len(pairs), batch_size, True, seed, steps)
    stream.workers = ahead
    train(freeze_encoder(pretrained_unet(image_size=(side, side)), 0.1), stream,
          batches(split_pairs(data, "choose"), (side, side), 16), seed_dir(run_dir, seed),
          epochs, warm_cosine(rate, steps * epochs), weight_decay=1e-4, encoder_lr_scale=0.2,
          loss=photo_jaccard_loss)


def photo_ious(data: Path, files: list[Path]) -> np.ndarray:
    "IoU of each photo of the split `choose`, with the mean of some weights."
    model = pretrained_unet(image_size=(used_at, used_at))
    load_mean(model, files)
    with tempfile.TemporaryDirectory() as work: remover = export_for(model, work)
    return np.array([scores["iou"]
                     for scores in score_pairs(remover.probability, split_pairs(data, "choose"))])


def measure(data: Path, run_dir: Path):
    "Write the table."
    passes = {path: batch_size * steps * len(read_history(path.parent / "history.csv"))
              for path in ends(run_dir)}
    tried = {"as it ships": ([shipped_file()], 0)} # name → files, photo passes
    tried |= {path.parent.name.replace("-", " "): ([path], count)
              for path, count in passes.items()}
    tried["mean of the seeds"] = [*passes], sum(passes.values())
    tried["mean of the seeds and as it ships"] = [*passes, shipped_file()], sum(passes.values())
    rows, before = [], None
    for name, (files, count) in tried.items():
        ious = photo_ious(data, files)
        before = ious if before is None else before
        low, high = bootstrap_interval(ious - before)
        rows.append(dict(weights=name, more_passes=count, iou=ious.mean(),
                         change=(ious - before).mean(), low=low, high=high))
    write_table(results, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "measure"))
    parser.add_argument("data", type=Path)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("seed", type=int, nargs="?", choices=seeds, help="to train")
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"),
                        help="in which training multiplies; weights stay float32")
    parser.add_argument("--ahead", type=int, default=1,
                        help="batches that are made at once, while the network trains; more than 1 "
                        "pays where a GPU waits for them")
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    keras.mixed_precision.set_global_policy(options.precision)
    if options.what == "measure": measure(options.data, options.run_dir)
    elif options.seed is None: parser.error("which seed? one of " + ", ".join(map(str, seeds)))
    else: train_harder(options.data, options.run_dir, options.seed, options.ahead)
