"""Cut the people out of the sample photos: `python examples/demo.py`, or `make demo`.

Prints the IoU of each photo's mask with the true mask, and where the pictures lie. The validation
samples were never trained on.
"""
import argparse
from pathlib import Path

import numpy as np

from bg_remover.data_prep import prepare_pairs
from bg_remover.images import composite, read_image, read_mask, write_image
from bg_remover.metrics import score, summarize
from bg_remover.removal import Remover

root = Path(__file__).resolve().parent.parent
samples = root / "nbs/samples/mini_coco"
top, bottom = (250, 214, 165), (94, 129, 172) # RGB of the new background


def gradient(shape: tuple) -> np.ndarray:
    "A new background."
    return np.linspace(top, bottom, shape[0])[:, None].repeat(shape[1], axis=1)


def cut_samples(out: Path):
    "Cut out every validation sample with people and say how good each mask is."
    folder = prepare_pairs(samples, "val", out / "pairs", size=None)
    remover, scores = Remover(), []
    print(f"{'photo':<16}{'IoU':>6}   picture")
    for mask_path in sorted((folder / "masks").glob("*.png")):
        stem = mask_path.stem
        frame = read_image(folder / "frames" / f"{stem}.jpg")
        scores.append(score(remover.probability(frame), read_mask(mask_path), remover.threshold))
        cutout = remover.cutout(frame, empty_ok=True)
        write_image(out / f"{stem}_cutout.png", cutout)
        write_image(out / f"{stem}.jpg",
                    np.hstack([frame, composite(cutout, gradient(frame.shape))]))
        print(f"{stem:<16}{scores[-1]['iou']:>6.3f}   {out / f'{stem}.jpg'}")
    mean = summarize(scores)
    print(f"{'mean':<16}{mean['iou']:>6.3f}   {mean['photos']} photos, never trained on; all "
          f"pixels pooled: {mean['whole_set_iou']:.3f}")
    print(f"The cut-outs, with their transparency: {out / '*_cutout.png'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=Path("demo"), help="folder for the "
                        "pictures (default: demo)")
    cut_samples(parser.parse_args().out)
