"""Photos and masks as somebody may have them: one small person, drawn."""
import json
import tracemalloc
from pathlib import Path

import numpy as np
from PIL import Image

height, width = 40, 60
polygon = [10, 10, 40, 10, 40, 30, 10, 30] # the person, as x, y, x, y, ...
truth = np.zeros((height, width), bool)
truth[10:30, 10:40] = True


def photo(path: Path, orientation=1):
    "A photo, bright where the person is; its orientation is noted, not applied."
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.dstack([np.where(truth, 200, 40).astype(np.uint8)] * 3)).save(path,
                                                                                     exif=exif)


def picture(path: Path, values, palette=None):
    "A mask; its values are numbers, or colours where they are three."
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.uint8(values))
    if palette: image.putpalette(palette)
    image.save(path)


def write(path: Path, content, start=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(start
                     + (content if isinstance(content, str) else json.dumps(content)).encode())


def photos_and_masks(folder):
    for name in "ab":
        photo(folder / f"photos/{name}.jpg"); picture(folder / f"masks/{name}.png", 255 * truth)


def peak_memory(function) -> int:
    "The most bytes that a call takes at a time."
    tracemalloc.start()
    try: function()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak
