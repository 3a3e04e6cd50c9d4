"""How fast pairs become batches, and what they cost in memory: `python benchmarks/batches.py
[COCO]`, the samples unless a COCO folder is named.

The train photos are prepared at 256×256, repeated until there are enough, and these run by turns,
each over as many pairs:

    original      the tutorial's generator: frame and mask, both JPEG, by `cv2.imread`, one after
                  the other, stacked as they are (bytes; ours are the floats that `fit` takes). It
                  augments nothing.
    plain         `batches` without augmentation
    augmented     `batches` with all of it: `augment_pair` (place, zoom, stretch, tilt, mirror;
                  brightness, contrast, saturation, tint, grey, blur) and `paste=0.2`

The last two take their pairs from files (`Pairs`), from memory (`list(pairs)`), and from one file
of bare pixels (`pack_pairs`). The limit of the first is what decoding the frames alone costs on all
cores. Their speeds go to results.json; the rest is printed:

    memory        of a process that goes through 10,000 and more pairs: what it holds itself
                  (anonymous pages; what Linux merely keeps of files is not counted) at the end, and
                  for 1,000 pairs more; what that makes for COCO's 64,115
    ceiling       `batches` with pictures of 8×8, where nothing is left but Python: what one process
                  can do at most, however many cores decode
    need          what an accelerator could take, by arithmetic alone (none was at hand): the
                  multiplications of a U-Net on resnet34 at 256×256, three times over for a training
                  step, at the speed that cards of two kinds really reach

Tried and lost: a pool of threads kept from batch to batch (making one costs 0.1 ms a batch); one
thread for OpenCV, or more of ours than there are cores (no difference); frame and mask warped as
one picture of four channels (no difference); glibc told to keep what is freed (no difference); two
or four `workers` of `fit` instead of one (no difference on two cores, more work for the machine).
"""
import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from claims import keep_claim, own_memory
from preparation import link_many, samples

from bg_remover.base.work import usable_cores
from bg_remover.data_prep import prepare_pairs
from bg_remover.tool.packed import PackedPairs, pack_pairs
from bg_remover.generator import Pairs, augment_pair, batches
from bg_remover.model import build_unet

batch_size, paste, coco_people = 16, 0.2, 64_115


class Repeated:
    "The same pairs over and over, up to a count."
    def __init__(self, pairs, count): self.pairs, self.count = pairs, count
    def __len__(self): return self.count
    def __getitem__(self, index): return self.pairs[range(self.count)[index] % len(self.pairs)]


def original_masks(pairs: Pairs, folder: Path) -> list[str]:
    "The masks as the tutorial kept them: JPEG, zeros and ones."
    folder.mkdir()
    for path in pairs.mask_paths:
        cv2.imwrite(str(folder / f"{path.stem}.jpg"),
                    np.uint8(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0))
    return [str(folder / f"{path.stem}.jpg") for path in pairs.mask_paths]


def original_generator(frames: list[str], masks: list[str], count: int):
    "The tutorial's batches: whole ones only, no augmentation, BGR."
    for start in range(0, count - batch_size + 1, batch_size):
        chosen = [place % len(frames) for place in range(start, start + batch_size)]
        pictures = np.array([cv2.imread(frames[place]) for place in chosen])
        answers = np.array([cv2.imread(masks[place], cv2.IMREAD_GRAYSCALE) for place in chosen])
        yield pictures, answers[..., None]


def decode_frames(frames: list[str], count: int):
    "All frames on all cores, and nothing else."
    with ThreadPoolExecutor(usable_cores()) as threads:
        yield from threads.map(lambda place: cv2.imread(frames[place % len(frames)])[None],
                               range(count))


def speed(stream) -> float: # images/s
    "Go through some batches."
    begun, seen = time.perf_counter(), 0
    for batch in stream: seen += len(batch[0]) if isinstance(batch, tuple) else len(batch)
    return seen / (time.perf_counter() - begun)


def streams(pairs: Pairs, folder: Path, count: int) -> dict:
    "What is compared, by name: functions that give batches."
    frames = [str(path) for path in pairs.frame_paths]
    masks = original_masks(pairs, folder / "original")
    sources = dict(files=pairs, memory=list(pairs), packed=pack_pairs(pairs, folder / "pairs.npy"))
    found = {"original": lambda: original_generator(frames, masks, count),
             "decoding": lambda: decode_frames(frames, count)}
    for name, source in sources.items():
        many = Repeated(source, count)
        found[f"plain, {name}"] = lambda many=many: batches(many, shuffle=True)
        found[f"augmented, {name}"] = lambda many=many: batches(many, shuffle=True,
                                                                augment=augment_pair, paste=paste)
    return found


def measure_memory(source: str, folder: Path):
    """In a process of its own: print the megabytes held before, after a tenth, and after all of
    the pairs."""
    if source == "packed": pairs = PackedPairs(folder / "large.npy")
    else: pairs = Pairs(folder / "many/frames", folder / "many/masks")
    before = own_memory()
    if source == "memory": pairs = list(pairs[:1000])
    stream = batches(pairs, shuffle=True, augment=augment_pair, paste=paste)
    marks = [len(stream) // 10, len(stream) - 1]
    held = [before]
    for step in range(len(stream)):
        stream[step]
        if step in marks: held.append(own_memory())
    print(*held)


def memory_rows(pairs: Pairs, folder: Path, count: int):
    "Print what a run holds, for each source."
    link_many(pairs, folder / "many", count)
    pack_pairs(Repeated(pairs, count), folder / "large.npy")
    print(f"one file of bare pixels: {(folder / 'large.npy').stat().st_size / count / 1e3:.0f} MB "
          "on disk for 1,000 pairs")
    for source in ("files", "packed", "memory"):
        done = subprocess.run([sys.executable, __file__, "--memory-of", source, "--folder", folder],
                              capture_output=True, text=True, check=True)
        before, early, late = map(float, done.stdout.split()[-3:])
        pairs_seen = 1000 if source == "memory" else count
        growth = max(0, (late - early) / (0.9 * pairs_seen) * 1000)
        slope = late - before if source == "memory" else growth # megabytes for 1,000 pairs
        whole = late + slope * (coco_people - pairs_seen) / 1000
        print(f"{source:8} {pairs_seen:6} pairs: {before:.0f} MB before, {late:.0f} MB at the end; "
              f"{slope:.1f} MB for 1,000 pairs more; "
              f"all {coco_people:,} of COCO: {whole / 1000:.1f} GB", flush=True)


def multiplications(model) -> int:
    "Of one picture through the convolutions of a Keras model."
    found = 0
    for layer in model._flatten_layers(include_self=False):
        if "Conv2D" not in type(layer).__name__: continue
        height, width = layer.output.shape[1:3]
        found += int(np.prod(layer.kernel.shape)) * height * width
    return found


def need():
    "Print what cards would take."
    each = 3 * 2 * multiplications(build_unet("resnet34", (256, 256), None))
    for name, speed in (("a third of what an NVIDIA T4 promises, 20 TFLOP/s", 20e12),
                        ("a third of what an A100 does, 100 TFLOP/s", 100e12)):
        print(f"need: {each / 1e9:.0f} GFLOP a training picture; at {name}: {speed / each:.0f} "
              "images/s")


def keep_speeds(pairs: Pairs, folder: Path, count: int, rounds: int):
    "Measure all streams by turns, and keep how ours compare with the original's."
    named = streams(pairs, folder, count)
    measured = {name: [] for name in named}
    for _ in range(rounds):
        for name, make in named.items(): measured[name].append(speed(make()))
    for name, aim in (("plain", 4), ("augmented", 1.2)):
        for source in ("files", "memory", "packed"):
            limit = measured["decoding"] if source == "files" else None
            keep_claim(f"batches, {name}, from {source}", measured[f"{name}, {source}"],
                       measured["original"], "images/s", limit, aim=aim)


def ceiling():
    "Print what one process can do at most."
    tiny = [(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 1), np.uint8))] * 4096
    found = [speed(batches(tiny, (8, 8), augment=augment_pair, paste=paste)) for _ in range(3)]
    print(f"ceiling of one process: {np.median(found):.0f} images/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("coco", type=Path, nargs="?", default=samples)
    parser.add_argument("--images", type=int, default=640, help="for each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=10_000, help="for the memory")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of: return measure_memory(options.memory_of, options.folder)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        made = prepare_pairs(options.coco, "train", folder / "pairs", limit=2000)
        pairs = Pairs(made / "frames", made / "masks")
        keep_speeds(pairs, folder, options.images, options.rounds)
        ceiling()
        need()
        memory_rows(pairs, folder, options.pairs)


if __name__ == "__main__":
    main()
