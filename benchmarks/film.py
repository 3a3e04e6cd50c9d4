"""How still edges of films stand, and how well they follow: `python benchmarks/film.py [--isnet]
[--memory]`. Writes results/film.csv, or with --memory film_memory.csv.

Films are made from the sample photos, so that the true mask of each frame is known, with noise, and
as H.264 like those of a camera:

    still    a photo, filmed: nothing moves
    moving   a person cut out by COCO's outline moves and turns before a photo without people

Flicker is how much alpha changes from frame to frame (0–1) within 12 pixels of the true edge, of
still films. IoU and boundary IoU compare each mask with the true one. All are means over the frames
of a film, then over films.

The shipped network is asked frame by frame, as most tools do; its answers are then taken as they
are, averaged with the frames before (which calms them and lags), or smoothed as `remove_film` does.
--isnet adds ISNet as rembg asks it, frame by frame, on one film of each kind. --memory cuts 5,000
small frames with a stand-in and writes down what the process holds.
"""
import argparse
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from bg_remover.base.films import Film, read_frame
from bg_remover.data_prep import prepare_pairs
from bg_remover.images import read_image, read_mask, resize_image
from bg_remover.metrics import boundary_iou, iou
from bg_remover.removal import Remover, alpha_from
from bg_remover.tool.video import FilmFrame, remove_film, smooth_film

from claims import write_table
from memory import resident_megabytes

root = Path(__file__).resolve().parent.parent
samples, results = root / "nbs/samples/mini_coco", root / "benchmarks/results"
# one person in each
people = ("000000168974", "000000343937", "000000357888", "000000456496", "000000519208",
          "000000547336")
meadow = "000000041888" # and nobody in this one
count = 30 # frames in a film


def subjects(work: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]: # RGB uint8 H×W×3, bool H×W
    "Photos with one person each, and their true masks."
    folder = prepare_pairs(samples, "val", work, size=None)
    for stem in people:
        mask = read_mask(folder / f"masks/{stem}.png")
        yield read_image(folder / f"frames/{stem}.jpg"), mask > 128


Scene = tuple[list[np.ndarray], list[np.ndarray]] # frames, true masks


def still(photo: np.ndarray, mask: np.ndarray) -> Scene:
    "A film in which nothing moves."
    return [photo] * count, [mask] * count


def moving(photo: np.ndarray, mask: np.ndarray) -> Scene:
    "A film in which the person walks 4 pixels a frame and sways."
    height, width = mask.shape
    ground = read_image(samples / f"val2017/{meadow}.jpg")
    behind = np.float32(resize_image(ground, (height, width)))
    alpha, frames, truths = cv2.GaussianBlur(np.float32(mask), (0, 0), 1), [], []
    for index in range(count):
        view = cv2.getRotationMatrix2D((width / 2, height / 2), 8 * np.sin(index / 4), 0.8)
        view[0, 2] += 4 * (index - count / 2)
        there = cv2.warpAffine(alpha, view, (width, height))[..., None]
        person = cv2.warpAffine(photo, view, (width, height), borderMode=cv2.BORDER_REPLICATE)
        frames.append(np.uint8(there * person + (1 - there) * behind))
        truths.append(there[..., 0] >= 0.5)
    return frames, truths


def filmed(frames: list[np.ndarray], path: Path) -> list[np.ndarray]: # RGB uint8 H×W×3
    "Frames as a camera gives them: with noise, light that is not quite steady, and H.264."
    noise = np.random.default_rng(0)
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=25, options={"crf": "18"})
        height, width = (side - side % 2 for side in frames[0].shape[:2])
        stream.height, stream.width = height, width
        for pixels in frames:
            grain, light = noise.normal(0, 4, (height, width, 3)), noise.normal(0, 1)
            noisy = pixels[:height, :width] + grain + light
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.uint8(np.clip(noisy, 0, 255)))))
        film.mux(stream.encode(None))
    film = Film(path)
    return [read_frame(frame, film.reformatter)[0] for frame in film.frames()]


def before_only(frames: Iterator[FilmFrame]) -> Iterator[FilmFrame]:
    "What a tool does that knows only the past: the mean of a frame and the three before it."
    window = deque(maxlen=4)
    for frame in frames:
        window.append(frame.probability)
        yield FilmFrame(frame.index, frame.pixels, None, np.mean(window, axis=0))


ways: dict[str, Callable] = {"frame by frame": iter, "mean with the 3 frames before": before_only,
                             "smoothed as remove_film does": smooth_film}


# flicker, IoU, boundary IoU
def measure(probabilities: list[np.ndarray], threshold: float,
            truths: list[np.ndarray]) -> tuple[float, float, float]:
    "The figures of one film."
    alphas = [np.float32(alpha_from(each, threshold)) / 255 for each in probabilities]
    truth, window = np.uint8(truths[0]), np.ones((25, 25))
    near = cv2.dilate(truth, window) - cv2.erode(truth, window) > 0
    flicker = np.mean([np.abs(after - before)[near].mean()
                       for before, after in zip(alphas, alphas[1:])])
    scores = [(iou(each >= threshold, true), boundary_iou(each >= threshold, true))
              for each, true in zip(probabilities, truths)]
    return float(flicker), *np.mean(scores, axis=0)


def compare(scene: Callable, tool: str, answer: Callable, threshold: float, pairs: list,
            work: Path) -> Iterator[dict]:
    "One row for each way."
    found = {way: [] for way in ways}
    for photo, mask in pairs:
        frames, truths = scene(photo, mask)
        frames = filmed(frames, work / "film.mp4")
        truths = [true[:frames[0].shape[0], :frames[0].shape[1]] for true in truths]
        asked = [FilmFrame(index, frame, None, answer(frame)) for index, frame in enumerate(frames)]
        for way, smooth in ways.items():
            found[way].append(measure([frame.probability for frame in smooth(iter(asked))],
                                      threshold, truths))
    for way, figures in found.items():
        flicker, overlap, edge = np.mean(figures, axis=0)
        yield {"film": scene.__name__, "network": tool, "over time": way, "films": len(pairs),
               "flicker": f"{flicker:.4f}" if scene is still else "",
               "iou": f"{overlap:.3f}", "boundary_iou": f"{edge:.3f}"}


class StandIn(Remover):
    "A network that costs next to nothing: what is bright is a person."
    def __init__(self): self.threshold = 0.5
    def probability(self, photo): return np.float32(photo[..., 0]) / 255


def watch_memory(work: Path, frames: int = 5000):
    "Cut a long film of small frames, and write down what the process holds."
    path, held = work / "long.mp4", []
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.height, stream.width = 96, 128
        sound = film.add_stream("aac", rate=48000, layout="mono")
        for index in range(frames):
            pixels = np.full((96, 128, 3), 40, np.uint8)
            cv2.circle(pixels, (20 + index % 88, 48), 16, (230, 220, 210), -1)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
            hum = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.float32), format="fltp",
                                             layout="mono")
            hum.sample_rate, hum.pts = 48000, 1920 * index
            film.mux(sound.encode(hum))
        film.mux(stream.encode(None))
        film.mux(sound.encode(None))
    def note(progress):
        if progress.done % 100 == 0: held.append((progress.done, resident_megabytes()))
    record = remove_film(path, work / "long.webm", StandIn(), progress=note)
    print(f"{record.frames} frames: {held[4][1]:.0f} MB after 500, {held[-1][1]:.0f} MB at the "
          f"end, {resident_megabytes():.0f} MB when joined; "
          f"{path.stat().st_size / 1e6:.1f} MB became {record.output.stat().st_size / 1e6:.1f} MB")
    write_table(results / "film_memory.csv",
                [{"frames": done, "megabytes": f"{value:.1f}"} for done, value in held])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isnet", action="store_true", help="ISNet too, which npm brings (90 MB)")
    parser.add_argument("--memory", action="store_true",
                        help="only how memory grows over 5,000 frames")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work, rows = Path(folder), []
        if options.memory: return watch_memory(work)
        pairs, remover = list(subjects(work / "pairs")), Remover()
        tools = {"ours": (remover.probability, remover.threshold, pairs)}
        if options.isnet:
            import quality
            tools["ISNet, as rembg asks it"] = quality.isnet(), 0.5, pairs[:1]
        for tool, (answer, threshold, films) in tools.items():
            for scene in (still, moving):
                for row in compare(scene, tool, answer, threshold, films, work):
                    rows.append(row)
                    print(*row.values(), sep="  ", flush=True)
    write_table(results / "film.csv", rows)


if __name__ == "__main__":
    main()
