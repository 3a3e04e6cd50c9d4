"""In how many photos without people does a network find somebody?

    python benchmarks/false_alarms.py DATA PEERS

DATA and PEERS are those of quality.py; DATA/extra holds photos without people, mostly animals
(source `voc-background`), that the shipped network was never trained on. Counted as quality.py
counts: at least 1 % of the pixels are called a person, each network at its threshold. Writes
results/false_alarms.csv: the share of photos with its Wilson interval, for both kinds of photos.
"""
import argparse
import csv
from pathlib import Path

from evaluate import wilson_interval
from quality import Peer, alarm_share, folder, photos_without_people, tflite, write_table

from bg_remover.images import read_image
from bg_remover.removal import Remover


def animals(data: Path) -> list[Path]:
    "Photos without people, mostly of animals."
    with open(data / "extra/index.csv", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file) if row["source"] == "voc-background"]
    return [data / f"extra/frames/{name}.jpg" for name in names]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("peers", type=Path)
    options = parser.parse_args()
    ours, careful, table = Remover(), Remover(careful=True), []
    networks = {"bg_remover as it ships": (ours.probability, ours.threshold),
                "bg_remover, careful": (careful.probability, careful.threshold)}
    networks |= {name: (Peer(options.peers / f"{file}.tflite", prepare, read), 0.5)
                 for name, (file, prepare, read) in tflite.items()}
    photos = {"any": photos_without_people(options.data), "animals": animals(options.data)}
    for name, (predict, threshold) in networks.items():
        for kind, paths in photos.items():
            alarms = sum((predict(read_image(path)) >= threshold).mean() >= alarm_share
                         for path in paths)
            low, high = wilson_interval(alarms, len(paths))
            table.append(dict(network=name, photos=kind, count=len(paths),
                              alarms=alarms / len(paths), low=low, high=high))
            print(*table[-1].values(), flush=True)
            write_table(folder / "results/false_alarms.csv", table)


if __name__ == "__main__": main()
