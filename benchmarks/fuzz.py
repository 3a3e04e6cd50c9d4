"""Damage photos in every way and see whether anything but an answer comes out.

    python benchmarks/fuzz.py [--files 21000] [--processes 2] [--seed 0]
        [--csv benchmarks/results/fuzz.csv]

Sample photos, small, in all formats, with bits flipped, bytes replaced, parts cut out, cut off,
doubled or exchanged with another file, go through `remove_file`. The network is a constant, so what
is tested is everything around it: headers, decoders, notes, writers. An answer is a finished file
(it is opened again and decoded) or a record that says why not. Counted are crashes (the process
dies, or an error gets out), hangs (no answer within two minutes) and partial outputs (a file that
does not open, or one left behind by a failure). With the defaults (OpenCV 5.0.0, Pillow 13.0.0,
pillow-heif 1.8.1): 21,000 files, 4,002 still cut out, 16,998 refused with an `ImageError`, no
crash, no hang, nothing partial; fuzz.csv has them by format. A damaged JPEG often still decodes, to
a picture with a broken part: its format has no checksums. What a seed does is the same everywhere;
which damage still decodes depends on the versions of the decoders.
"""
import argparse
import csv
import io
import multiprocessing
import queue
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms

from bg_remover.tool.folders import remove_file
from bg_remover.removal import Remover

root = Path(__file__).resolve().parent.parent
samples = sorted((root / "nbs/samples/mini_coco/val2017").glob("*.jpg"))
outcomes = ("done", "refused", "crash", "hang", "partial")
requests = ({"format": "png"}, {"format": "webp"}, {"format": "png", "mask": True},
            {"format": "jpg", "background": (9, 9, 9)}, {"format": "webp", "background": "blur"})
patience = 120 # seconds; the machine may have other work


class Constant(Remover):
    "A network that sees a person in the left half of everything."
    def __init__(self):
        self.image_size, self.threshold, self.min_peak_probability = (16, 16), 0.5, 0.0
    def answer(self, photo): return np.repeat(np.float32([[1] * 8 + [0] * 8]), 16, axis=0)


def stored(picture: Image.Image, form: str, **options) -> bytes:
    "A picture as a file of one format."
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def notes() -> dict: # as Pillow takes them
    "What a file says beside its pixels: a camera, an owner, a place; and a profile."
    said = Image.Exif()
    said[0x010F], said[0x0112] = "camera", 6
    said.get_ifd(0x8769)[0xA430], said.get_ifd(0x8825)[1] = "owner", "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return dict(exif=said, icc_profile=profile.tobytes())


def of_16_bits(picture: Image.Image | np.ndarray) -> np.ndarray: # uint16
    "The same picture with 16 bits a number: 0 to 65,535."
    return np.asarray(picture).astype(np.uint16) * 257


def transparent_16_bits(picture: Image.Image) -> bytes:
    "A PNG with 16 bits a number, as transparent as it is dark in red."
    pixels = np.dstack([picture, np.asarray(picture)[..., :1]])
    return cv2.imencode(".png", of_16_bits(pixels))[1].tobytes()


def first_formats(said: dict) -> dict[str, Callable]: # format → how to store a picture in it
    "JPEG and PNG."
    return {
        "JPEG": lambda photo: stored(photo, "JPEG", **said),
        "progressive JPEG": lambda photo: stored(photo, "JPEG", progressive=True, **said),
        "CMYK JPEG": lambda photo: stored(photo.convert("CMYK"), "JPEG"),
        "PNG": lambda photo: stored(photo, "PNG", **said),
        "transparent PNG": lambda photo: stored(photo.convert("LA"), "PNG"),
        "palette PNG": lambda photo: stored(photo.quantize(64), "PNG", transparency=3),
        "16-bit PNG": lambda photo: stored(Image.fromarray(of_16_bits(photo.convert("L"))), "PNG")}


def more_formats(said: dict, frames: list[Image.Image]) -> dict[str, Callable]: # as above
    "All others; some hold more frames than one."
    film = dict(save_all=True, append_images=frames)
    return {
        "WebP": lambda photo: stored(photo, "WEBP", **said),
        "lossless WebP": lambda photo: stored(photo.convert("RGBA"), "WEBP", lossless=True),
        "GIF": lambda photo: stored(photo, "GIF", **film),
        "animated WebP": lambda photo: stored(photo, "WEBP", **film),
        "TIFF": lambda photo: stored(photo, "TIFF", **said),
        "packed TIFF": lambda photo: stored(photo, "TIFF", compression="tiff_lzw"),
        "BMP": lambda photo: stored(photo, "BMP"),
        "AVIF": lambda photo: stored(photo, "AVIF", **said),
        "animated PNG": lambda photo: stored(photo, "PNG", default_image=True, **film),
        "BMP of 32 bits": lambda photo: stored(photo.convert("RGBA"), "BMP"),
        "JPEG without its end": lambda photo: stored(photo, "JPEG", **said)[:-2],
        "16-bit transparent PNG": transparent_16_bits,
        "JPEG 2000": lambda photo: stored(photo, "JPEG2000")}


def whole_files() -> dict[str, list[bytes]]: # format → files
    """Six sample photos in each format, with notes, a profile or more frames where the format has
    them. A seed counts on the order."""
    photos = [Image.open(path).convert("RGB").resize((128, 96)) for path in samples[:6]]
    said = notes()
    ways = first_formats(said) | more_formats(said, photos[:2])
    try:
        import pillow_heif
        pillow_heif.register_heif_opener()
        ways["HEIC"] = lambda photo: stored(photo, "HEIF")
    except ImportError: pass
    return {name: [way(photo) for photo in photos] for name, way in ways.items()}


def damage(data: bytes, other: bytes, chance: random.Random) -> bytes:
    "A file with one to four faults, more of them near its beginning, where the header is."
    data = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) if chance.random() < 0.5 else min(len(data), 600))
        length = min(chance.choice((1, 4, 16, 256, 4000)), len(data) - place)
        match chance.randrange(7):
            case 0: data[place] ^= 1 << chance.randrange(8)
            case 1: data[place:place + length] = chance.randbytes(length)
            case 2: data[place:place + length] = bytes([chance.choice((0, 255))]) * length
            case 3: del data[place:place + length]
            case 4: del data[place:]
            case 5: data[place:place] = data[place:place + length]
            case 6: data[place:place + length] = other[place:place + length]
        if not data: break
    return bytes(data)


def try_one(
    number: int, seed: int, files: dict[str, list[bytes]], folder: Path
) -> tuple[str, str, str]: # format, outcome, what was said
    "Damage one file, cut it, look at what came."
    chance = random.Random(f"{seed} {number}")
    kind = list(files)[number % len(files)]
    other = chance.choice(files[chance.choice(list(files))])
    source, request = folder / "photo.bin", chance.choice(requests)
    dest = folder / f"result.{request['format']}"
    source.write_bytes(damage(chance.choice(files[kind]), other, chance))
    try:
        record = remove_file(source, dest, Constant(), overwrite=True, keep_metadata=True,
                             largest=1_000_000, **request)
    except Exception as error: return kind, "crash", f"{type(error).__name__}: {error}"
    left = [path.name for path in folder.iterdir() if path != source]
    try:
        if left != ([dest.name] if record.verdict == "done" else []):
            return kind, "partial", f"left behind: {left}"
        if record.verdict == "done": Image.open(dest).load()
    except Exception as error: return kind, "partial", f"{type(error).__name__}: {error}"
    finally:
        for path in folder.iterdir(): path.unlink()
    return kind, "done" if record.verdict == "done" else "refused", record.error


def work(tell, numbers: range, seed: int):
    "Go through some numbers in a process that may die, telling of each before and after."
    files = whole_files()
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            tell.send((number, None))
            tell.send((number, try_one(number, seed, files, Path(folder))))


def watch(numbers: range, seed: int, kinds: list[str], results: queue.Queue):
    """Run processes over some numbers; one that dies or hangs is counted, and the next goes on
    behind it."""
    while numbers:
        hear, tell = multiprocessing.Pipe(duplex=False)
        spawn = multiprocessing.get_context("spawn")
        process = spawn.Process(target=work, args=(tell, numbers, seed), daemon=True)
        process.start()
        tell.close()
        number, outcome = numbers[0], None
        try:
            while hear.poll(patience):
                number, outcome = hear.recv()
                if outcome: results.put((number, *outcome))
            reason = "hang"
        except EOFError: reason = "crash"
        process.kill()
        process.join()
        if not outcome:
            results.put((number, kinds[number % len(kinds)], reason,
                         f"exit code {process.exitcode}"))
        numbers = range(number + numbers.step, numbers.stop, numbers.step)


def try_all(count: int, processes: int, seed: int) -> tuple[dict, Counter]:
    "Damage so many files: the outcomes by format, and why files were refused."
    kinds, results = list(whole_files()), queue.Queue()
    lanes = [threading.Thread(target=watch, args=(range(lane, count, processes), seed, kinds,
                                                  results)) for lane in range(processes)]
    for lane in lanes: lane.start()
    table, reasons = {kind: Counter() for kind in kinds}, Counter()
    for _ in range(count):
        number, kind, outcome, said = results.get()
        table[kind][outcome] += 1
        if outcome not in ("done", "refused"):
            print(f"number {number}, {kind}: {outcome}: {said}", flush=True)
        if outcome == "refused": reasons[said.split(": ")[0]] += 1
    for lane in lanes: lane.join()
    return table | {"all": sum(table.values(), Counter())}, reasons


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=21_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path, help="write the table here")
    options = parser.parse_args()
    start = time.perf_counter()
    table, reasons = try_all(options.files, options.processes, options.seed)
    rows = [["format", "files", *outcomes],
            *([kind, sum(counts.values()), *(counts[outcome] for outcome in outcomes)]
              for kind, counts in table.items())]
    for row in rows: print(f"{row[0]:<18}" + "".join(f"{value:>9}" for value in row[1:]))
    print(f"seed {options.seed}, {time.perf_counter() - start:.0f} s; refused by: {dict(reasons)}")
    if options.csv:
        with open(options.csv, "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
