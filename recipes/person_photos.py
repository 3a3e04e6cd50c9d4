"""Photos with masks from several folders, varied for training; crowds count neither way."""
import csv
from collections import Counter
from pathlib import Path

import numpy as np

from bg_remover.generator import Batches, augment_pair, paste_people
from bg_remover.images import read_image, read_mask


class MaskedPhotos:
    "Frames and masks of some folders: 1 is a person, 2 a crowd, which counts neither way."
    def __init__(self, folders: list[Path], split: str, repeat: dict[str, int] | None = None):
        self.paths, self.counts = [], Counter()  # photos of each source, each once
        for folder in folders:
            with open(folder / "index.csv", newline="") as file: rows = list(csv.DictReader(file))
            for row in rows:
                name, source = row["name"], row["source"]
                if row["split"] != split: continue
                if folder.name == "extra" and source == "ccp": continue  # bags are left out there
                paths = folder / f"frames/{name}.jpg", folder / f"masks/{name}.png"
                self.paths += [paths] * (repeat[source] if repeat else 1)
                self.counts[source] += 1

    def __len__(self) -> int: return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        frame, mask = self.paths[index]
        frame = read_image(frame)
        mask = read_mask(mask) if mask.exists() else np.zeros(frame.shape[:2], np.uint8)
        return frame, (np.uint8(mask > 0) + np.uint8(mask == 128))[..., None]


def vary(frame, mask, side: int, rng) -> tuple[np.ndarray, np.ndarray]:
    "`augment_pair`; now and then the photo lies on its side or head, is dark, or grey."
    if rng.random() < 0.1:
        quarters = rng.integers(1, 4)
        frame, mask = (np.ascontiguousarray(np.rot90(each, quarters)) for each in (frame, mask))
    frame, mask = augment_pair(frame, mask, (side, side), rng)
    if rng.random() < 0.1:
        frame = np.uint8(255 * (frame / 255) ** rng.uniform(1, 2) * rng.uniform(0.3, 0.8))
    if rng.random() < 0.05: frame = np.uint8(frame.mean(axis=2, keepdims=True)).repeat(3, axis=2)
    return frame, mask


def training_batches(photos: MaskedPhotos, side: int, paste: float, seed: int,
                     **settings) -> Batches:
    "An endless stream of varied photos, people pasted in front of some."
    def read_one(index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        frame, mask = vary(*photos[index], side, rng)
        if rng.random() >= paste: return frame, mask
        other, people = vary(*photos[int(rng.integers(len(photos)))], side, rng)
        return paste_people(frame, mask, other, np.uint8(people == 1))
    return Batches(read_one, len(photos), shuffle=True, seed=seed, **settings)
