"""Cut out a thousand photos in one process and write down how much memory it holds after each.

    python benchmarks/memory.py [--photos 1000] [--csv nbs/histories/folder_memory.csv]

The photos are the samples, over and over, under new names. Resident memory is read from /proc, so
this runs on Linux alone. The first photos make it grow, until every size of photo has been seen; a
leak would make it grow for ever. Printed: the mean of the hundred photos after the first hundred,
of the last hundred, and how much a photo adds in between (a straight line, by least squares).
"""
import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

from claims import write_table

from bg_remover.tool.folders import remove_folder

root = Path(__file__).resolve().parent.parent
samples = sorted((root / "nbs/samples/mini_coco").glob("*2017/*.jpg"))


def resident_megabytes() -> float:
    "What this process holds in memory now."
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(count: int, folder: Path) -> list[float]: # megabytes after each photo
    "Cut a number of photos, one after another."
    (folder / "photos").mkdir()
    for number in range(count):
        (folder / f"photos/{number:05}.jpg").symlink_to(samples[number % len(samples)])
    return [resident_megabytes()
            for _ in remove_folder(folder / "photos", folder / "results", format="webp")]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--csv", type=Path, default=root / "nbs/histories/folder_memory.csv")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        megabytes = np.array(measure(options.photos, Path(folder)))
    slope = np.polyfit(np.arange(100, len(megabytes)), megabytes[100:], 1)[0]
    print(f"{len(megabytes)} photos: {megabytes[100:200].mean():.0f} MB after the first hundred, "
          f"{megabytes[-100:].mean():.0f} MB at the end, {slope * 1000:+.1f} kB a photo")
    write_table(options.csv, [dict(photos=number + 1, megabytes=f"{value:.1f}")
                              for number, value in enumerate(megabytes) if number % 10 == 9])


if __name__ == "__main__":
    main()
