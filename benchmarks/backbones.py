"""What does a network of each backbone and decoder weigh, and how long does it take? Weights decide
neither, so these are random.

    python benchmarks/backbones.py

Writes benchmarks/results/backbones.csv; a few minutes. Megabytes are those of the exported file
with its weights as float16, milliseconds the median of ONNX Runtime on all cores of this machine,
one network after the other: the threads of one that was just asked stay awake for a while and would
slow the next.
"""
import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from claims import write_table

from bg_remover.model import build_unet
from bg_remover.removal import Network
from bg_remover.base.export import export_onnx

results = Path(__file__).parent / "results/backbones.csv"
backbones = ("mobilenetv2", "mobilenet", "efficientnetb0", "resnet18", "resnet34")
decoders = {"slim": (64, 48, 32, 24), "wide": (128, 96, 64, 32), "full": (256, 128, 64, 32, 16)}
sides, rounds = (256, 384), 15


def milliseconds(network: Network, photo: np.ndarray) -> float:
    "The median time of an answer; the first one counts for nothing."
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        network.answer(photo)
        times.append(1000 * (time.perf_counter() - begun))
    return float(np.median(times[1:]))


def measure(side: int, backbone: str, filters: tuple[int, ...]) -> dict:
    "Megabytes and milliseconds of one network."
    photo = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "net.onnx"
        export_onnx(build_unet(backbone, (side, side), None, filters), path, half=True)
        return dict(megabytes=f"{path.stat().st_size / 1e6:.1f}",
                    milliseconds=f"{milliseconds(Network(path), photo):.0f}")


def main():
    argparse.ArgumentParser(description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rows = [dict(backbone=backbone, decoder=decoder, side=side) | measure(side, backbone, filters)
            for side in sides for backbone in backbones for decoder, filters in decoders.items()]
    write_table(results, rows)
    for row in rows:
        print("{backbone:15} {decoder:12} {side} × {side}  {megabytes:>5} MB {milliseconds:>4} ms"
              .format(**row))


if __name__ == "__main__":
    main()
