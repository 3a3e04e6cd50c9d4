"""Films that tests make themselves, so that they know what is in each frame and when it is
shown."""
from fractions import Fraction

import av
import numpy as np

from bg_remover.removal import Remover

options = {"libx264": {"crf": "12", "preset": "ultrafast"},
           "libvpx-vp9": {"crf": "12", "b": "0", "cpu-used": "8", "deadline": "realtime",
           "auto-alt-ref": "0"}, "prores_ks": {"profile": "4444"},
           "libx265": {"x265-params": "log-level=none"}}


class RedFilmRemover(Remover):
    "What is red is a person, pixel by pixel."
    def __init__(self): self.threshold, self.asked = 0.5, 0

    def probability(self, photo):
        self.asked += 1
        pixels = np.float32(photo) / 255
        return np.clip(3 * (pixels[..., 0] - pixels[..., 1:].max(2)) - 0.5, 0, 1)


# uint8 height×width×3, or ×4
def square(index: int, size=(64, 96), side: int = 24, alpha: bool = False) -> np.ndarray:
    """A red square on blue-grey, whose left edge says which frame it is in: 2 pixels further in
    each frame."""
    frame = np.full((*size, 4 if alpha else 3), 255, np.uint8)
    frame[..., :3] = 60, 90, 120
    left = place(index, size, side)
    frame[20:20 + side, left:left + side, :3] = 220, 40, 30
    return frame


def place(index: int, size=(64, 96), side: int = 24) -> int:
    "The left edge of the square in a frame."
    return 2 * index % (size[1] - side)


def add_picture(film, codec: str, size, pix_fmt: str, rate, base: Fraction, settings: dict):
    "A stream of pictures, BT.601, that notes how long each is shown."
    stream = film.add_stream(codec, rate=rate, options=options.get(codec, {}) | settings)
    stream.height, stream.width = size
    stream.pix_fmt, stream.time_base = pix_fmt, base
    context = stream.codec_context
    context.time_base, context.colorspace, context.color_range = base, 5, 1 # BT.601
    context.flags |= av.codec.context.Flags.frame_duration
    return stream


def as_frame(pixels, stream) -> av.VideoFrame:
    "Pixels, or a frame, in the stream's own format."
    if not isinstance(pixels, av.VideoFrame):
        form = "rgba" if pixels.shape[2] == 4 else "rgb24"
        pixels = av.VideoFrame.from_ndarray(pixels, format=form)
    context = stream.codec_context
    return pixels.reformat(format=stream.pix_fmt, dst_colorspace=context.colorspace,
                           dst_color_range=context.color_range)


def write_film(path, frames, codec: str = "libx264", pix_fmt: str = "yuv420p", times=None,
               base=Fraction(1, 1000), rate=25, last=None, sounds=(),
               form: str | None = None, sound_start: float = 0, change=None, **settings):
    """Write frames at the given times, in ticks of `base`, with tracks of sound: (codec,
    frequency) each."""
    frames = list(frames)
    times = list(times or [40 * index for index in range(len(frames))])
    with av.open(str(path), "w", format=form) as film:
        stream = add_picture(film, codec, frames[0].shape[:2], pix_fmt, rate, base, settings)
        if change: change(stream)
        tracks = [(film.add_stream(name, rate=48000, layout="mono"), hertz)
                  for name, hertz in sounds]
        lengths = [after - before for before, after in zip(times, times[1:])]
        lengths.append(last or (lengths or [40])[-1])
        for pixels, ticks, length in zip(frames, times, lengths):
            frame = as_frame(pixels, stream)
            frame.pts, frame.time_base, frame.duration = ticks, base, length
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
        for track, hertz in tracks:
            write_sound(film, track, hertz, sound_start, float((times[-1] + lengths[-1]) * base))


def write_sound(film, track, hertz: int, start: float, end: float):
    "A tone from `start` to `end`, silent except in the middle fifth of a second of each second."
    seconds = np.arange(int(start * 48000), int(end * 48000)) / 48000
    wave = np.float32(0.5 * np.sin(2 * np.pi * hertz * seconds) * (abs(seconds % 1 - 0.5) < 0.1))
    for first in range(0, len(wave), 960):
        frame = av.AudioFrame.from_ndarray(wave[None, first:first + 960], format="fltp",
                                           layout="mono")
        frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
        frame.pts = int(start * 48000) + first
        film.mux(track.encode(frame))
    film.mux(track.encode(None))


def read_film(path) -> tuple[list[np.ndarray], list[float]]: # RGBA uint8 H×W×4, seconds
    "All frames of a film, and when each is shown."
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        decoder = stream.codec_context
        notes = {key.lower(): value for key, value in stream.metadata.items()}
        if notes.get("alpha_mode") == "1" and decoder.name == "vp9":
            decoder = av.CodecContext.create("libvpx-vp9", "r")
        frames = [frame for packet in film.demux(stream) if packet.size
                  for frame in decoder.decode(packet)] + decoder.decode(None)
        times = [float(frame.pts * stream.time_base) for frame in frames]
        return [rgba(frame) for frame in frames], times


def rgba(frame) -> np.ndarray: # uint8 H×W×4
    "A frame's pixels, solid where the film has no transparency."
    colours = frame.to_ndarray(format="rgb24")
    alpha = np.full((frame.height, frame.width), 255, np.uint8)
    if frame.format.name.startswith("yuva"): # 8 bits, or 10 or 12 in two bytes
        plane, bits = frame.planes[3], frame.format.components[3].bits
        values = np.frombuffer(plane, np.uint8 if bits == 8 else np.uint16)
        values = values.reshape(plane.height, -1)[:, :plane.width] # rows are padded
        alpha = np.uint8(values >> (bits - 8))
    return np.dstack([colours, alpha])


# float32 samples at 48 kHz, seconds at which they start
def read_sound(path, track: int = 0) -> tuple[np.ndarray, float]:
    "One track of a film's sound."
    with av.open(str(path)) as film:
        resampler, parts, start = av.AudioResampler("fltp", "mono", 48000), [], None
        for frame in film.decode(film.streams.audio[track]):
            if start is None: start = frame.time
            parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
        return np.concatenate(parts), start


def length(path) -> float: # seconds
    "How long a film says it lasts."
    with av.open(str(path)) as film: return film.duration / av.time_base


def shown_at(frame: np.ndarray) -> float:
    "The left edge of what a cut-out frame shows, by its alpha."
    columns = np.flatnonzero((frame[..., 3] > 127).any(0))
    return float(columns[0]) if len(columns) else -1.0
