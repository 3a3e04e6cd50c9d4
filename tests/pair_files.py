"""Photos with masks, for tests of what reads such pairs."""
from pathlib import Path

import numpy as np

from bg_remover.images import read_image, write_image, write_mask

samples = Path(__file__).resolve().parents[1] / "nbs/samples/mini_coco/val2017"


def make_own_photos(folder: Path):
    "Five photos with masks as different tools write them, in photos/ and masks/."
    for name in ("photos", "masks"): (folder / name).mkdir(parents=True)
    for number, path in enumerate(sorted(samples.glob("*.jpg"))[:5]):
        photo = read_image(path)[:200, :300]
        mask = np.zeros(photo.shape[:2], np.uint8)
        mask[50:150, 60 + 10 * number:200] = 255
        write_image(folder / f"photos/{number}.jpg", photo)
        if number == 0: write_mask(folder / "masks/0.png", mask)
        # a cut-out
        if number == 1: write_image(folder / "masks/1.jpg.png", np.dstack([photo, mask]))
        if number == 2: write_image(folder / "masks/2.jpg", np.dstack([mask] * 3)) # smeared by JPEG
        # zeros and ones
        if number == 3: write_image(folder / "masks/3.png", np.dstack([mask // 255] * 3))
        if number == 4: write_image(folder / "masks/4.webp", np.dstack([mask] * 3))


def make_pair(folder, name, height=30, width=40, value=0):
    "A frame of one colour, a mask whose left half is a person and whose corner is a crowd."
    mask = np.zeros((height, width), np.uint8)
    mask[:, : width // 2], mask[:3, -3:] = 255, 128
    for part in ("frames", "masks"): (folder / part).mkdir(exist_ok=True)
    write_image(folder / "frames" / f"{name}.png", np.full((height, width, 3), value, np.uint8))
    write_mask(folder / "masks" / f"{name}.png", mask)
