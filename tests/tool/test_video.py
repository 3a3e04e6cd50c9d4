"""Films: each mask on its own frame, all kinds of files, edges that stand still, and work that
goes on after a kill."""
import base64
import itertools
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from bg_remover.base.films import Film, FilmError, is_whole_film, read_frame
from bg_remover.images import write_image
from bg_remover.metrics import boundary_iou, iou
from bg_remover.removal import Remover
from bg_remover.tool import video
from bg_remover.tool.video import FilmFrame, remove_film, smooth_film, still_weight

sys.path.insert(0, os.path.dirname(os.path.dirname(__file__)))
# noqa: E402
from films import RedFilmRemover, length, place, read_film, read_sound, shown_at, square, write_film

green = (0, 200, 0)
# milliseconds: a rate that varies, and a late start
uneven = [100, 140, 150, 171, 200, 300, 333, 500, 520, 540, 700, 740]
kinds = pytest.mark.parametrize("ending", ["webm", "mov", "mp4"])


def cut(source, dest, **settings):
    "Cut a film with the stand-in; before green where there is no transparency."
    if dest.suffix == ".mp4": settings.setdefault("background", green)
    return remove_film(source, dest, settings.pop("remover", None) or RedFilmRemover(), **settings)


def left_edge(frame: np.ndarray) -> int:
    "Where a red square begins, by what is to be seen, on any background."
    red = (np.int16(frame[..., 0]) - frame[..., 1] > 90) & (frame[..., 3] > 127)
    return int(np.flatnonzero(red.sum(0) > 10)[0])


def check_places(dest, count: int):
    "Each frame shows the square where this frame of the film has it, in colour and in alpha."
    frames, _ = read_film(dest)
    assert len(frames) == count
    for index, frame in enumerate(frames):
        assert abs(left_edge(frame) - place(index)) <= 1, index
        if dest.suffix != ".mp4": assert abs(shown_at(frame) - place(index)) <= 1, index


# Time

@kinds
@pytest.mark.parametrize("b_frames", ["0", "3"])
def test_a_mask_belongs_to_its_own_frame(tmp_path, ending, b_frames):
    write_film(tmp_path / "in.mp4", map(square, range(12)), times=uneven, last=60, bf=b_frames)
    dest = tmp_path / f"out.{ending}"
    record = cut(tmp_path / "in.mp4", dest)
    assert (record.verdict, record.frames, record.note) == ("done", 12, "")
    check_places(dest, 12)
    first = read_film(dest)[1][0]
    assert np.subtract(read_film(dest)[1],
                       first) == pytest.approx([(ticks - 100) / 1000 for ticks in uneven],
                                               abs=0.0011)
    # MP4 notes lengths in the order of decoding
    assert record.seconds == pytest.approx(0.7, abs=0.001 if b_frames == "0" else 0.05)
    assert length(dest) - first == pytest.approx(record.seconds, abs=0.002)


@kinds
def test_sound_stays_in_sync(tmp_path, ending):
    write_film(tmp_path / "in.mp4", map(square, range(40)), times=range(120, 1720, 40), bf="3",
               sounds=[("aac", 440), ("aac", 880)])
    dest = tmp_path / f"out.{ending}"
    cut(tmp_path / "in.mp4", dest)
    assert read_film(dest)[1] == pytest.approx(read_film(tmp_path / "in.mp4")[1], abs=0.0011)
    for track in range(2):
        (before, start), (after, late) = read_sound(tmp_path / "in.mp4", track), read_sound(dest,
                                                                                            track)
        loud_before, loud_after = (np.flatnonzero(abs(sound) > 0.2)[0] / 48000
                                   for sound in (before, after))
        assert start + loud_before == pytest.approx(late + loud_after, abs=0.005)
        assert len(after) == pytest.approx(len(before), abs=2048)


def test_a_film_that_starts_late_starts_at_zero_in_sync(tmp_path):
    write_film(tmp_path / "in.ts", map(square, range(25)), sounds=[("aac", 440)],
               times=range(2000, 3000, 40), sound_start=2.0, form="mpegts")
    shift = read_film(tmp_path / "in.ts")[1][0]
    assert shift > 1
    cut(tmp_path / "in.ts", tmp_path / "out.mp4")
    check_places(tmp_path / "out.mp4", 25)
    with av.open(str(tmp_path / "in.ts")) as film:
        start = min(stream.start_time * stream.time_base for stream in film.streams)
    assert np.add(read_film(tmp_path / "out.mp4")[1],
                  float(start)) == pytest.approx(read_film(tmp_path / "in.ts")[1], abs=1e-4)
    (before, begin), (after,
                      late) = read_sound(tmp_path / "in.ts"), read_sound(tmp_path / "out.mp4")
    loud_before, loud_after = (np.flatnonzero(abs(sound) > 0.2)[0] / 48000
                               for sound in (before, after))
    assert begin + loud_before == pytest.approx(float(start) + late + loud_after, abs=0.005)


def test_repeated_frames_are_kept(tmp_path):
    write_film(tmp_path / "in.mkv", [square(index // 3) for index in range(12)])
    cut(tmp_path / "in.mkv", tmp_path / "out.webm")
    frames, times = read_film(tmp_path / "out.webm")
    assert [left_edge(frame)
            for frame in frames] == pytest.approx([place(index // 3) for index in range(12)], abs=1)
    assert times == pytest.approx([0.04 * index for index in range(12)], abs=0.0011)


def packets(path):
    "The bytes of all packets of sound."
    with av.open(str(path)) as film:
        return [bytes(packet) for packet in film.demux(film.streams.audio[0]) if packet.size]


@pytest.mark.parametrize("before, form, ending, after",
                         [("aac", "mp4", "mp4", "aac"), ("libopus", "matroska", "webm", "libopus"),
                          ("aac", "mp4", "webm", "opus"),
                                                         ("pcm_s16le", "mov", "mov", "pcm_s16le"),
                          ("pcm_s16le", "mov", "mp4", "aac")])
def test_sound_is_copied_if_the_new_file_may_hold_it(tmp_path, before, form, ending, after):
    write_film(tmp_path / "in", map(square, range(25)), sounds=[(before, 440)], form=form)
    dest = tmp_path / f"out.{ending}"
    cut(tmp_path / "in", dest)
    with av.open(str(dest)) as film:
        assert film.streams.audio[0].codec_context.name == after.removeprefix("lib")
    assert (packets(tmp_path / "in") == packets(dest)) == (before == after)
    with av.open(str(dest)) as film: assert len(film.streams.audio) == 1


# Kinds of films

def turned(stream, degrees, mirror):
    "Have a stream turned by its notes, with pixels that are not square."
    stream.set_display_rotation(degrees, hflip=mirror)
    stream.codec_context.sample_aspect_ratio = Fraction(4, 3)


@pytest.mark.parametrize("ending", ["webm", "mov"])
@pytest.mark.parametrize("degrees, mirror", itertools.product((0, 90, 180, -90), (False, True)))
def test_a_turned_film_stands_upright(tmp_path, degrees, mirror, ending):
    upright = square(8)
    # what a camera held that way stores
    stored = np.rot90(upright[:, ::-1] if mirror else upright, -degrees // 90)
    write_film(tmp_path / "in.mp4", [stored] * 3,
               change=lambda stream: turned(stream, degrees, mirror))
    dest = tmp_path / f"out.{ending}"
    cut(tmp_path / "in.mp4", dest)
    frame = read_film(dest)[0][1]
    seen = cv2.resize(np.uint8(frame[..., 3] > 127), (96, 64), interpolation=cv2.INTER_NEAREST) > 0
    assert iou(seen, upright[..., 0] > 128) > 0.9
    with av.open(str(dest)) as film:
        stream = film.streams.video[0]
        shape = stream.width / stream.height * stream.sample_aspect_ratio
    assert shape == pytest.approx(2 if degrees % 180 == 0 else 1.125, abs=0.02)


@kinds
@pytest.mark.parametrize("size", [(63, 95), (64, 95), (63, 96)])
def test_odd_sides(tmp_path, ending, size):
    write_film(tmp_path / "in.mkv", [square(index, size) for index in range(5)], "ffv1", "bgr0")
    dest = tmp_path / f"out.{ending}"
    cut(tmp_path / "in.mkv", dest)
    frame = read_film(dest)[0][3]
    even = tuple(side + side % 2 for side in size)
    assert frame.shape[:2] == (even if ending == "mp4" else size)
    assert abs(left_edge(frame) - place(3)) <= 1


@pytest.mark.parametrize("codec, pix_fmt, space",
                         [("libx264", "yuv420p10le", 5), ("libx264", "yuv422p", 1),
                          ("prores_ks", "yuv422p10le", 1), ("ffv1", "gbrp10le", 0),
                                                   ("libx264", "yuvj420p", 5),
                          ("libvpx-vp9", "yuv420p", 1)])
def test_colours_stay(tmp_path, codec, pix_fmt, space):
    def change(stream):
        stream.codec_context.colorspace = space
        stream.codec_context.color_range = 2 if pix_fmt == "yuvj420p" else 1
    settings = {} if pix_fmt.startswith("gbr") else dict(change=change)
    write_film(tmp_path / "in.mkv", map(square, range(5)), codec, pix_fmt, **settings)
    cut(tmp_path / "in.mkv", tmp_path / "out.mov", quality=100)
    frame = read_film(tmp_path / "out.mov")[0][2]
    assert np.allclose(frame[32, place(2) + 12], (220, 40, 30, 255), atol=8)
    with av.open(str(tmp_path / "out.mov")) as film:
        context = film.streams.video[0].codec_context; assert (context.colorspace,
                                                               context.color_range) == (1, 1)


def test_a_large_film_without_a_note_is_bt709(tmp_path):
    def change(stream): stream.codec_context.colorspace = 2
    picture = cv2.resize(square(0), (1280, 720), interpolation=cv2.INTER_NEAREST)
    frame = av.VideoFrame.from_ndarray(picture).reformat(format="yuv420p", dst_colorspace="ITU709",
                                                         dst_color_range=1)
    with av.open(str(tmp_path / "in.mkv"), "w") as film:
        stream = film.add_stream("libx264", rate=25, options={"crf": "10", "preset": "ultrafast"})
        stream.width, stream.height = 1280, 720
        frame.colorspace = 2
        film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    film = Film(tmp_path / "in.mkv")
    pixels = read_frame(next(film.frames()), film.reformatter)[0]
    assert np.allclose(pixels[300, 100], (220, 40, 30), atol=5)


def test_hdr_becomes_sdr(tmp_path):
    white = round(255 * 0.75) # the signal of a white wall in HLG
    picture = np.full((64, 96, 3), white, np.uint8)
    picture[20:44, 10:34, 1:] = 30
    def change(stream):
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = 18, 9, 9
    write_film(tmp_path / "in.mkv", [picture] * 3, "ffv1", "yuv420p10le", change=change)
    record = cut(tmp_path / "in.mkv", tmp_path / "out.webm", background=green)
    assert record.note == "HDR (HLG) was converted to SDR"
    frame = read_film(tmp_path / "out.webm")[0][1]
    # a brighter red than in the file
    assert frame[30, 20, 0] > 225 and frame[30, 20, 1:3].max() < 70


def test_an_interlaced_film_is_named(tmp_path):
    write_film(tmp_path / "in.mkv", map(square, range(5)), **{"x264-params": "tff=1"})
    assert "interlaced" in cut(tmp_path / "in.mkv", tmp_path / "out.webm").note
    check_places(tmp_path / "out.webm", 5)


@pytest.mark.parametrize("codec, pix_fmt, form",
                         [("libvpx-vp9", "yuva420p", "webm"), ("prores_ks", "yuva444p10le", "mov"),
                          ("qtrle", "argb", "mov"), ("ffv1", "bgra", "matroska")])
@pytest.mark.parametrize("ending", ["webm", "mov"])
def test_what_was_transparent_stays_so(tmp_path, codec, pix_fmt, form, ending):
    def frame(index):
        pixels = square(index, alpha=True)
        pixels[32:, :, 3] = 0
        pixels[44:, :, :3] = 250, 10, 10 # red as well, but cut away before
        return pixels
    def change(stream): stream.metadata["alpha_mode"] = "1"
    write_film(tmp_path / "in", map(frame, range(5)), codec, pix_fmt, form=form, change=change)
    dest = tmp_path / f"out.{ending}"
    cut(tmp_path / "in", dest)
    result = read_film(dest)[0][2]
    assert result[36:, :, 3].max() < 20 and result[24:30, place(2) + 4:place(2) + 20, 3].min() > 235
    assert result[56:, :, :3].max() < 40 # not in the file, either


@pytest.mark.parametrize("width", [98, 100, 105])
def test_the_last_columns_are_read_too(tmp_path, width):
    def change(stream): stream.metadata["alpha_mode"] = "1"
    frames = [np.full((64, width, 4), (200, 90, 30, 255), np.uint8)] * 8
    write_film(tmp_path / "in.webm", frames, "libvpx-vp9", "yuva420p", change=change)
    for _ in range(5):
        film = Film(tmp_path / "in.webm")
        junk = [av.VideoFrame.from_ndarray(np.full((64, width, 4), 9, np.uint8),
                                           format="rgba").reformat(format="yuva420p")
                for _ in range(5)]
        with film.container: read = [read_frame(frame, film.reformatter) for frame in film.frames()]
        assert junk and all(np.ptp(pixels, axis=(0, 1)).max() < 4 and visible.min() > 250
                            for pixels, visible in read)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_a_film_cut_short_is_done_as_far_as_it_goes(tmp_path, ending):
    whole = tmp_path / f"whole.{ending}"
    noise = np.random.default_rng(0)
    frames = [np.uint8(np.clip(square(index) + noise.normal(0, 4, (64, 96, 3)), 0, 255))
              for index in range(60)]
    write_film(whole, frames, form={"ts": "mpegts", "mkv": "matroska"}.get(ending, "mp4"), g="10",
               sounds=[("aac", 440)])
    if ending == "mp4": # an index at the front, as films from the net have it
        cut(whole, tmp_path / "front.mp4", quality=100)
        whole = tmp_path / "front.mp4"
    data = whole.read_bytes()
    (tmp_path / f"half.{ending}").write_bytes(data[:len(data) * 6 // 10])
    record = cut(tmp_path / f"half.{ending}", tmp_path / "out.webm")
    assert len(read_sound(tmp_path / "out.webm")[0]) > 36000 # its sound goes on as far
    assert record.verdict == "done" and 20 < record.frames < 50
    assert ending == "ts" or "incomplete: " in record.note and "of 2.4 seconds" in record.note
    check_places(tmp_path / "out.webm", record.frames)


def test_damage_in_the_middle_costs_a_few_frames(tmp_path):
    write_film(tmp_path / "in.ts", map(square, range(60)), form="mpegts", g="10")
    data = bytearray((tmp_path / "in.ts").read_bytes())
    middle = len(data) // 2
    data[middle:middle + 600] = np.random.default_rng(0).bytes(600)
    (tmp_path / "in.ts").write_bytes(data)
    record = cut(tmp_path / "in.ts", tmp_path / "out.webm")
    assert record.verdict == "done" and 50 <= record.frames <= 60


def sound_only(path):
    with av.open(str(path), "w", format="mp4") as film:
        track = film.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp",
                                           layout="mono")
        frame.sample_rate, frame.pts = 48000, 0
        film.mux(track.encode(frame))
        film.mux(track.encode(None))


def test_what_is_no_film_is_refused(tmp_path):
    write_film(tmp_path / "whole.mp4", map(square, range(9)))
    sound_only(tmp_path / "sound.mp4")
    write_image(tmp_path / "photo.png", square(0))
    # its index was at the end
    (tmp_path / "half.mp4").write_bytes((tmp_path / "whole.mp4").read_bytes()[:600])
    (tmp_path / "notes.mp4").write_text("my notes")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/secret.ts\n"
                                        "#EXT-X-ENDLIST\n")
    for name in ("sound.mp4", "photo.png", "half.mp4", "notes.mp4", "empty.mp4", "list.m3u8"):
        with pytest.raises(FilmError, match=name):
            cut(tmp_path / name, tmp_path / "out.webm")
            pytest.fail(f"{name} was done")
    for name in ("none.mp4", "http://127.0.0.1:9/film.mp4", "concat:a|b"):
        with pytest.raises(FileNotFoundError):
            remove_film(name, tmp_path / "out.webm", RedFilmRemover())
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".", "out"))]


def test_a_cover_is_no_film(tmp_path):
    write_film(tmp_path / "in.mp4", [square(0)], "mjpeg", last=40, pix_fmt="yuvj420p",
               change=lambda stream: setattr(stream, "disposition",
                                             av.stream.Disposition.attached_pic))
    with pytest.raises(FilmError, match="no pictures"):
        cut(tmp_path / "in.mp4", tmp_path / "out.webm")


def test_a_wrong_request_is_refused_before_the_work(tmp_path):
    write_film(tmp_path / "in.mp4", map(square, range(3)))
    for name, settings, reason in (("out.avi", {}, "must end in"),
                                   ("in.mp4", dict(overwrite=True), "itself"),
                                   ("out.webm", dict(quality=0), "1 to 100")):
        with pytest.raises(FilmError, match=reason):
            cut(tmp_path / "in.mp4", tmp_path / name, **settings)
    with pytest.raises(FilmError, match="no transparency"):
        remove_film(tmp_path / "in.mp4", tmp_path / "out.mp4", RedFilmRemover())
    with pytest.raises(FileNotFoundError): cut(tmp_path / "in.mp4", tmp_path / "none/out.webm")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


# Edges

class Flickering(RedFilmRemover):
    "The stand-in with an edge that jumps from frame to frame, as a network's does."
    def probability(self, photo):
        noise = np.random.default_rng(self.asked).normal(0, 0.35, photo.shape[:2])
        sure = super().probability(photo)
        edge = cv2.dilate(sure, np.ones((7, 7))) - cv2.erode(sure, np.ones((7, 7)))
        return np.float32(np.clip(cv2.blur(sure, (5, 5)) + edge * cv2.blur(noise, (3, 3)), 0, 1))


def masks(frames, smooth: bool) -> np.ndarray: # bool N×H×W
    "What the flickering stand-in says of frames."
    remover = Flickering()
    asked = (FilmFrame(index, frame, None, remover.probability(frame))
             for index, frame in enumerate(frames))
    return np.array([frame.probability > 0.5
                     for frame in (smooth_film(asked) if smooth else asked)])


def noisy(frames):
    noise = np.random.default_rng(3)
    return [np.uint8(np.clip(frame + noise.normal(0, 3, frame.shape), 0, 255)) for frame in frames]


def test_an_edge_stands_still_where_nothing_moves():
    frames = noisy([square(10)] * 12)
    before, after = (np.mean(np.diff(masks(frames, smooth), axis=0)) for smooth in (False, True))
    assert after < before / 2.5


def test_an_edge_does_not_lag_where_something_moves():
    frames = noisy(map(square, range(12)))
    truth = [square(index)[..., 0] > 128 for index in range(12)]
    for measure, slack in ((iou, 0.005), (boundary_iou, 0.01)):
        before, after = (np.mean([measure(mask, true)
                                  for mask, true in zip(masks(frames, smooth), truth)])
                         for smooth in (False, True))
        assert after > before - slack
    centres = [np.flatnonzero(mask.any(0)).mean() - np.flatnonzero(true.any(0)).mean()
               for mask, true in zip(masks(frames, True), truth)]
    assert abs(np.mean(centres)) < 0.6


def test_weights_of_a_still_and_a_moving_pixel():
    one, other = square(0), square(8)
    weight = still_weight(one, other)
    assert weight[5:14].min() == 1 and weight[30, 5] == weight[30, 35] == 0
    assert weight.dtype == np.float32
    assert still_weight(*noisy([one, one])).min() > 0.9


def test_a_cut_is_not_smoothed_over():
    frames = [np.full((32, 32, 3), level, np.uint8) for level in (0, 0, 0, 200, 200, 200)]
    frames = [FilmFrame(index, frame, None, np.float32(frame[..., 0] / 200))
              for index, frame in enumerate(frames)]
    assert [float(frame.probability.mean()) for frame in smooth_film(frames)] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8])
def test_short_films_are_smoothed_too(count):
    frames = [FilmFrame(index, square(index), None, np.zeros((64, 96), np.float32))
              for index in range(count)]
    assert [frame.index for frame in smooth_film(frames)] == list(range(count))


def test_no_more_than_a_few_frames_are_held():
    taken = []
    def frames():
        for index in range(20):
            taken.append(index)
            yield FilmFrame(index, square(0), None, np.zeros((64, 96), np.float32))
    for frame in smooth_film(frames()): assert len(taken) - frame.index <= 4


def test_an_edge_keeps_its_colour(tmp_path):
    write_film(tmp_path / "in.mkv",
               [square(index)[:, :, [1, 0, 2]][..., [1, 0, 2]] for index in range(4)], "ffv1",
               "bgr0")
    cut(tmp_path / "in.mkv", tmp_path / "out.webm", quality=100)
    frame, left = read_film(tmp_path / "out.webm")[0][2], place(2)
    inner = frame[20:44, left:left + 24]
    # black beside it does not creep in
    assert np.abs(np.int16(inner[..., :3]) - (220, 40, 30)).mean() < 8


# Results

@pytest.mark.parametrize("background, corner",
                         [(green, (0, 200, 0)), ("blur", (60, 90, 120)),
                          ("checkerboard", (255, 255, 255)), ("photo", (10, 20, 200))])
@pytest.mark.parametrize("ending", ["mp4", "webm"])
def test_backgrounds(tmp_path, background, corner, ending):
    write_film(tmp_path / "in.mp4", map(square, range(4)))
    if background == "photo":
        background = tmp_path / "photo.png"
        write_image(background, np.full((50, 50, 3), (10, 20, 200), np.uint8))
    dest = tmp_path / f"out.{ending}"
    cut(tmp_path / "in.mp4", dest, background=background)
    frame = read_film(dest)[0][2]
    assert np.allclose(frame[4, 4, :3], corner, atol=12) and frame[..., 3].min() == 255
    assert abs(left_edge(frame) - place(2)) <= 1


@kinds
def test_quality_decides_the_size(tmp_path, ending):
    noise = np.random.default_rng(0)
    frames = [np.uint8(np.clip(square(index) + noise.normal(0, 12, (64, 96, 3)), 0, 255))
              for index in range(12)]
    write_film(tmp_path / "in.mp4", frames, crf="20")
    sizes = []
    for quality in (30, 75, 100):
        dest = tmp_path / f"{quality}.{ending}"
        cut(tmp_path / "in.mp4", dest, quality=quality,
            background=None if ending != "mp4" else "blur")
        sizes.append(dest.stat().st_size)
    assert sizes[0] < sizes[1] < sizes[2]
    # ProRes is for editing, and large
    if ending != "mov": assert sizes[1] < 3 * (tmp_path / "in.mp4").stat().st_size


def test_progress_says_how_far_and_how_long(tmp_path):
    write_film(tmp_path / "in.mp4", map(square, range(10)))
    seen = []
    cut(tmp_path / "in.mp4", tmp_path / "out.webm", progress=seen.append)
    assert [each.done for each in seen] == list(range(1, 11)) and {each.total
                                                                   for each in seen} == {10}
    assert seen[-1].seconds_left == 0 < seen[0].seconds_left and seen[4].frames_per_second > 0


@kinds
def test_cropped_to_where_people_are_at_any_time(tmp_path, ending):
    write_film(tmp_path / "in.mp4", map(square, range(12)), sounds=[("aac", 440)])
    remover, dest = RedFilmRemover(), tmp_path / f"out.{ending}"
    cut(tmp_path / "in.mp4", dest, remover=remover, crop=True, padding=0)
    frames, times = read_film(dest)
    _, before = read_film(tmp_path / "in.mp4")
    # from the first square's left edge at 0 to the last one's right edge at 22 + 24, and 24 high
    height, width = frames[0].shape[:2]
    assert 22 <= height <= 30 and 44 <= width <= 52 and times == before
    for index, frame in enumerate(frames): assert abs(left_edge(frame) - place(index)) <= 2, index
    assert remover.asked == 24 and read_sound(dest)


def test_a_cropped_film_has_room_and_goes_on_without_looking_again(tmp_path, monkeypatch):
    monkeypatch.setattr("bg_remover.tool.video._segment_length", 4)
    monkeypatch.setattr("bg_remover.tool.video._hidden_folder", one_folder(tmp_path, "webm"))
    write_film(tmp_path / "in.mp4", map(square, range(12)))
    for stop in (8, 12 + 9): # in the first look, and in the second
        with pytest.raises(KeyboardInterrupt):
            cut(tmp_path / "in.mp4", tmp_path / "out.webm", remover=Stops(stop), crop=True)
    remover = RedFilmRemover()
    cut(tmp_path / "in.mp4", tmp_path / "out.webm", remover=remover, crop=True, padding=20)
    assert remover.asked < 12 and len(read_film(tmp_path / "out.webm")[0]) == 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.webm"]


def test_soft_edges_of_a_film(tmp_path):
    write_film(tmp_path / "in.mp4", map(square, range(3)))
    soft = []
    for feather in (0, 4):
        cut(tmp_path / "in.mp4", tmp_path / f"{feather}.mov", feather=feather)
        alpha = read_film(tmp_path / f"{feather}.mov")[0][1][..., 3]
        soft.append(((alpha > 20) & (alpha < 235)).sum())
    assert soft[1] > 3 * max(20, soft[0])
    for wrong in (dict(feather=-1), dict(padding=2000)):
        with pytest.raises(FilmError, match="padding must be 0 to 1000 percent"):
            cut(tmp_path / "in.mp4", tmp_path / "no.mov", **wrong)


def test_nobody_makes_no_file(tmp_path):
    write_film(tmp_path / "in.mp4", [np.full((64, 96, 3), 90, np.uint8)] * 4)
    record = cut(tmp_path / "in.mp4", tmp_path / "out.webm")
    assert (record.verdict, record.output) == ("nobody", None)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_what_is_there_is_kept_unless_told_otherwise(tmp_path):
    write_film(tmp_path / "in.mp4", map(square, range(4)))
    cut(tmp_path / "in.mp4", tmp_path / "out.webm")
    before = (tmp_path / "out.webm").read_bytes()
    assert cut(tmp_path / "in.mp4", tmp_path / "out.webm").verdict == "skipped"
    assert (tmp_path / "out.webm").read_bytes() == before
    (tmp_path / "out.webm").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="out.webm: already exists, but is not a finished"):
        cut(tmp_path / "in.mp4", tmp_path / "out.webm")
    assert (tmp_path / "out.webm").read_bytes() == b"mine"
    assert cut(tmp_path / "in.mp4", tmp_path / "out.webm", overwrite=True).verdict == "done"
    check_places(tmp_path / "out.webm", 4)


@kinds
def test_a_film_that_is_not_whole_is_not_taken_for_finished(tmp_path, ending):
    write_film(tmp_path / "in.mp4", map(square, range(30)), sounds=[("aac", 440)])
    dest = tmp_path / f"out.{ending}"
    assert cut(tmp_path / "in.mp4", dest).verdict == "done"
    assert cut(tmp_path / "in.mp4", dest).verdict == "skipped"
    data = dest.read_bytes()
    for part in (0, 1, len(data) // 3, len(data) // 2, len(data) - 1):
        dest.write_bytes(data[:part])
        with pytest.raises(FileExistsError, match="not a finished film"):
            cut(tmp_path / "in.mp4", dest)
    for size in range(0, min(len(data), 1500), 20): # somewhere in its header
        dest.write_bytes(data[:size])
        assert not is_whole_film(dest), size
    sound_only(dest)
    with pytest.raises(FileExistsError, match="not a finished film"): cut(tmp_path / "in.mp4", dest)


@kinds
def test_the_ending_may_be_in_capitals(tmp_path, ending):
    write_film(tmp_path / "in.mp4", map(square, range(3)))
    dest = tmp_path / f"OUT.{ending.upper()}"
    assert cut(tmp_path / "in.mp4", dest, background=green).output == dest
    assert len(read_film(dest)[0]) == 3


@pytest.mark.browser
def test_a_page_shines_through_in_a_browser(tmp_path, project, monkeypatch):
    monkeypatch.syspath_prepend(project / "docs")
    import chromium
    write_film(tmp_path / "in.mp4", map(square, range(10)))
    cut(tmp_path / "in.mp4", tmp_path / "out.webm")
    film = base64.b64encode((tmp_path / "out.webm").read_bytes()).decode()
    with chromium.open_browser() as browser:
        page = browser.new_page(viewport=dict(width=96, height=64))
        page.set_content('<body style="margin: 0; background: #0f0"><video muted '
                         f'src="data:video/webm;base64,{film}"></video>')
        page.wait_for_function("document.querySelector('video').readyState >= 2")
        shot = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.allclose(shot[5, 60], (0, 255, 0), atol=8) and np.allclose(shot[32, 12],
                                                                         (220, 40, 30), atol=25)


# Interruptions

def test_a_failure_before_the_first_segment_leaves_nothing(tmp_path):
    write_film(tmp_path / "in.mp4", map(square, range(4)))
    with pytest.raises(KeyboardInterrupt):
        cut(tmp_path / "in.mp4", tmp_path / "out.webm", remover=Stops(2))
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


class Stops(RedFilmRemover):
    "The stand-in until a number of frames, then an error."
    def __init__(self, after: int):
        super().__init__()
        self.after = after

    def probability(self, photo):
        if self.asked >= self.after: raise KeyboardInterrupt
        return super().probability(photo)


@kinds
@pytest.mark.parametrize("smooth", [False, True])
def test_interrupted_is_uninterrupted(tmp_path, ending, smooth, monkeypatch):
    monkeypatch.setattr("bg_remover.tool.video._segment_length", 10)
    write_film(tmp_path / "in.mp4", map(square, range(34)), times=range(50, 1070, 30),
               sounds=[("aac", 440)])
    cut(tmp_path / "in.mp4", tmp_path / f"whole.{ending}", smooth=smooth)
    dest, asked = tmp_path / f"out.{ending}", []
    monkeypatch.setattr("bg_remover.tool.video._hidden_folder", one_folder(tmp_path, ending))
    for after in (25, 8, None):
        remover = RedFilmRemover() if after is None else Stops(after)
        if after is None: cut(tmp_path / "in.mp4", dest, remover=remover, smooth=smooth)
        else:
            with pytest.raises(KeyboardInterrupt):
                cut(tmp_path / "in.mp4", dest, remover=remover, smooth=smooth)
            assert not dest.exists()
        asked.append(remover.asked)
    assert asked[2] < 34 - 20 + 4
    (before, times), (after, same) = read_film(tmp_path / f"whole.{ending}"), read_film(dest)
    # In one of fifty runs, x264 rounds the same pictures in another way.
    assert times == same and max(np.abs(np.int16(one) - other).mean()
                                 for one, other in zip(before, after)) < 1
    assert sorted(path.name
                  for path in tmp_path.iterdir()) == sorted(["in.mp4", f"whole.{ending}",
                                                             dest.name])


def one_folder(place, ending: str):
    "Stand-ins of different classes shall go on with each other's work."
    def folder(*_):
        path = place / f".out.{ending}-0.segments"
        path.mkdir(exist_ok=True)
        return path
    return folder


def test_other_settings_do_not_go_on_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr("bg_remover.tool.video._segment_length", 10)
    write_film(tmp_path / "in.mp4", map(square, range(30)))
    with pytest.raises(KeyboardInterrupt):
        cut(tmp_path / "in.mp4", tmp_path / "out.webm", remover=Stops(25))
    remover = Stops(99)
    cut(tmp_path / "in.mp4", tmp_path / "out.webm", remover=remover, background=green)
    assert remover.asked == 30
    assert left_edge(read_film(tmp_path / "out.webm")[0][3]) == pytest.approx(place(3), abs=1)


def test_a_killed_process_leaves_no_film_and_its_work(tmp_path, project):
    write_film(tmp_path / "in.mp4", [square(index % 30) for index in range(300)])
    code = ("import sys, time; sys.path.insert(0, 'tests')\nfrom films import RedFilmRemover\nfrom "
            "bg_remover.tool.video import remove_film\n"
            "def slow(progress):\n"
            "    if progress.done == 130: print('now', flush=True); time.sleep(30)\n"
            "remove_film(*sys.argv[1:], RedFilmRemover(), progress=slow)")
    worker = subprocess.Popen([sys.executable, "-c", code, tmp_path / "in.mp4",
                               tmp_path / "out.webm"], cwd=project, stdout=subprocess.PIPE)
    assert worker.stdout.readline() == b"now\n"
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    assert not (tmp_path / "out.webm").exists()
    remover = RedFilmRemover()
    assert cut(tmp_path / "in.mp4", tmp_path / "out.webm", remover=remover).frames == 300
    assert remover.asked == 300 - 120 + 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.webm"]


def test_without_pyav_the_message_says_what_to_install(project):
    code = "import sys; sys.modules['av'] = None\nimport bg_remover.tool.video"
    run = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True)
    assert 'pip install "bg-remover[video]"' in run.stderr


def test_a_film_of_another_network_has_segments_of_its_own(tmp_path):
    source, request = tmp_path / "clip.mp4", video.FilmRequest(".webm")
    source.write_bytes(b"a film")
    networks = Remover(), Remover(careful=True), Remover(), Remover()
    networks[3].threshold = 0.9
    usual, careful, again, strict = (
        video._hidden_folder(source, tmp_path / "out.webm", network, request)
        for network in networks)
    assert usual == again and len({usual, careful, strict}) == 3
