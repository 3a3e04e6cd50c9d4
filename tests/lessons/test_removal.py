"""The Remover's contract: edges, colours, every kind of photo in, and what it says to bad files."""
import concurrent.futures
import io
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies
from onnx import TensorProto, helper, load, save
from PIL import Image, ImageOps

from bg_remover.base.errors import ImageError
from bg_remover.images import read_image, resize_probability, write_image
from bg_remover.metrics import boundary_iou
from bg_remover.base.network import ModelError, open_model, shipped_model
from bg_remover.removal import (PersonNotFound, Remover, alpha_from, estimate_foreground,
                                fit_lines, guided_filter, hysteresis_threshold, refine)
from bg_remover.images import as_image

rng = np.random.default_rng(0)
val_photos = sorted((Path(__file__).parents[2] / "nbs/samples/mini_coco/val2017").glob("*.jpg"))
sides = strategies.integers(1, 60)
colours = strategies.tuples(*[strategies.integers(0, 255)] * 3)


@pytest.fixture(scope="module")
def remover(): return Remover()


@pytest.fixture(scope="module")
def photo(): return read_image(next(path for path in val_photos if path.stem == "000000343937"))


# --- a network that we know: what is red is a person

def write_red_model(path: Path, side: int = 64, names: tuple = ("image", "probability"),
                    channels: int = 1, kind=TensorProto.FLOAT, text: str | None = None,
                    **changes) -> Path:
    """An .onnx file whose probability is red / 255, with a description like ours and what to
    change in it."""
    start, end, axis = (helper.make_tensor(name, TensorProto.INT64, [1], [value])
                        for name, value in (("start", 0), ("end", channels), ("axis", 3)))
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [1], [1 / 255])
    nodes = [helper.make_node("Slice", [names[0], "start", "end", "axis"], ["red"]),
             helper.make_node("Mul", ["red", "scale"], [names[1]])]
    if kind != TensorProto.FLOAT:
        nodes = [helper.make_node("Cast", [names[0]], ["cast"], to=TensorProto.FLOAT),
                 helper.make_node("Slice", ["cast", "start", "end", "axis"], ["red"]), nodes[1]]
    ends = [helper.make_tensor_value_info(names[0], kind, ["N", side, side, 3]),
            helper.make_tensor_value_info(names[1], TensorProto.FLOAT, ["N", side, side, channels])]
    model = helper.make_model(helper.make_graph(nodes, "red", ends[:1], ends[1:],
                                                [start, end, axis, scale]),
                              opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    description = dict(image_size=[64, 64], fit="stretch", colour="RGB 0-255",
                       threshold=0.5) | changes
    helper.set_model_props(model, {"bg_remover": json.dumps(description) if text is None else text})
    save(model, path)
    return path


@pytest.fixture(scope="module")
def red_remover(tmp_path_factory):
    return Remover(write_red_model(tmp_path_factory.mktemp("red") / "red.onnx"))


def red_disc(height: int = 120, width: int = 160, background=(0, 120, 60)) -> np.ndarray:
    "A photo of a red disc."
    photo = np.full((height, width, 3), background, np.uint8)
    cv2.circle(photo, (width // 2, height // 2), height // 4, (255, 0, 0), -1, cv2.LINE_AA)
    return photo


# --- shapes, ranges, sizes

def test_shapes_and_ranges(remover, photo):
    answer, probability = remover.answer(photo), remover.probability(photo)
    mask, cutout = remover.mask(photo), remover.cutout(photo)
    assert answer.dtype == np.float32 and answer.shape == (320, 480) # nearly its shape
    assert probability.dtype == np.float32 and probability.shape == photo.shape[:2]
    assert probability.min() >= 0 and probability.max() <= 1
    assert mask.dtype == bool and np.array_equal(mask, probability >= remover.threshold)
    assert cutout.dtype == np.uint8 and cutout.shape == (*photo.shape[:2], 4)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3), (33, 47)])
def test_any_size(remover, red_remover, size):
    assert remover.cutout(rng.integers(0, 255, (*size, 3), np.uint8),
                          empty_ok=True).shape == (*size, 4)
    red = np.full((*size, 3), (255, 0, 0), np.uint8)
    assert (red_remover.cutout(red) == (255, 0, 0, 255)).all()
    for background in ((1, 2, 3), red, "blur"):
        assert np.array_equal(red_remover.replace(red, background), red)


# --- the guided filter

def lines_by_hand(planes, probability, radius, epsilon):
    "The textbook: least squares in each window on its own, in double precision."
    planes, probability = (np.pad(one.astype(float),
                                  [(0, 0)] * (one.ndim - 2) + [(radius, radius)] * 2,
                                  mode="symmetric") for one in (planes, probability))
    height, width = (side - 2 * radius for side in probability.shape)
    slope, offset = np.zeros((3, height, width)), np.zeros((height, width))
    for y, x in np.ndindex(height, width):
        window = np.s_[y:y + 2 * radius + 1, x:x + 2 * radius + 1]
        colour, level = planes[:, *window].reshape(3, -1), probability[window].ravel()
        spread = np.cov(colour, bias=True) + epsilon * np.eye(3)
        distance = colour - colour.mean(1, keepdims=True)
        slope[:, y, x] = np.linalg.solve(spread, (distance * (level - level.mean())).mean(1))
        offset[y, x] = level.mean() - slope[:, y, x] @ colour.mean(1)
    return slope, offset


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_lines_are_the_textbooks(grey):
    planes, probability = rng.random((3, 14, 19), np.float32), rng.random((14, 19), np.float32)
    if grey: planes[:] = planes[0] # three equal channels: the hardest case for the solver
    slope, offset = fit_lines(planes, probability, 3, 1e-3)
    true_slope, true_offset = lines_by_hand(planes, probability, 3, 1e-3)
    assert np.allclose(slope, true_slope, atol=2e-3) and np.allclose(offset, true_offset, atol=2e-3)


def test_filter_of_a_small_photo_is_the_textbooks():
    photo, probability = rng.integers(0, 256, (14, 19, 3), np.uint8), rng.random((14, 19),
                                                                                 np.float32)
    slope, offset = lines_by_hand(photo.transpose(2, 0, 1) / 255, probability, 2, 1e-2)
    mean = lambda values: cv2.blur(values, (5, 5), borderType=cv2.BORDER_REFLECT)
    expected = sum(mean(one) * photo[..., channel] / 255
                   for channel, one in enumerate(slope)) + mean(offset)
    assert np.allclose(guided_filter(probability, photo, 2, 1e-2), expected, atol=1e-4)


@settings(deadline=None, max_examples=40)
@given(sides, sides, sides, strategies.integers(0, 2 ** 32 - 1))
def test_refine_gives_probabilities_and_leaves_certainty_alone(height, width, side, seed):
    random = np.random.default_rng(seed)
    photo, answer = random.integers(0, 256, (height, width, 3),
                                    np.uint8), random.random((side, side), np.float32)
    refined = refine(answer, photo)
    assert refined.dtype == np.float32 and refined.shape == (height, width)
    assert refined.min() >= 0 and refined.max() <= 1
    certain = np.full((side, side), seed % 2, np.float32)
    assert np.allclose(refine(certain, photo), seed % 2, atol=1e-5)


def test_a_perfect_answer_stays_nearly_perfect(remover):
    "Whatever the photo shows: stripes here, as strong as can be."
    photo = np.zeros((480, 640, 3), np.uint8)
    photo[:, np.arange(640) // 6 % 2 == 1] = 255
    truth = cv2.circle(np.zeros((480, 640), np.float32), (320, 240), 120, 1, -1)
    half = tuple(side // 2 for side in remover.image_size)
    refined = refine(resize_probability(resize_probability(truth, half), remover.image_size), photo)
    found = refined >= 0.5
    assert (found & (truth > 0)).sum() / (found | (truth > 0)).sum() > 0.985


def test_photo_of_one_colour_leaves_certainty_alone():
    answer = np.zeros((256, 256), np.float32)
    answer[:, 128:] = 1
    refined = refine(answer, np.full((256, 256, 3), 90, np.uint8))
    assert (refined[:, :126] == 0).all() and (refined[:, 129:] == 1).all()


def test_somebody_small_does_not_vanish(photo):
    answer = np.zeros((256, 256), np.float32)
    answer[100:105, 60:65] = 1
    assert guided_filter(answer, photo).max() < 0.5 < refine(answer, photo).max()


# by how many pixels the network draws a radius wrong; its own are ten of them
@pytest.mark.parametrize("wrong, least", [(0, 0.95), (-5, 0.7), (5, 0.85)])
def test_edges_come_from_the_photo(wrong, least):
    disc, said = red_disc(480, 640), np.zeros((480, 640), np.float32)
    truth = disc[..., 0] > 127
    cv2.circle(said, (320, 240), 120 + wrong, 1, -1)
    answer = cv2.GaussianBlur(cv2.resize(said, (64, 64), interpolation=cv2.INTER_AREA), (0, 0), 1)
    before, after = (boundary_iou(one >= 0.5, truth, 0.002)
                     for one in (cv2.resize(answer, (640, 480)), refine(answer, disc)))
    assert before < 0.5 and after > least


def test_memory_stays_at_three_floats_a_pixel():
    photo, answer = np.zeros((1500, 2000, 3), np.uint8), np.zeros((256, 256), np.float32)
    tracemalloc.start()
    refine(answer, photo)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 14 * photo.shape[0] * photo.shape[1] + 20e6 # the lines are fitted at a fixed size


def test_mask_is_where_the_cutout_is_half_opaque(remover, photo):
    assert np.array_equal(remover.mask(photo), remover.cutout(photo)[..., 3] >= 128)


# --- alpha

def test_alpha_climbs_in_the_band():
    alpha = alpha_from(np.float32([0, 0.29, 0.3, 0.5, 0.7, 0.71, 1]), 0.5)
    assert alpha.tolist() == [0, 0, 0, 128, 255, 255, 255]


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.95])
def test_what_is_certain_is_clear_or_solid(threshold):
    assert alpha_from(np.float32([0, 1]), threshold).tolist() == [0, 255]


# --- colours

@settings(deadline=None, max_examples=60)
@given(sides, sides,
       strategies.sampled_from([[0, 255], [0, 128, 255], list(range(256)), [1, 254], [0], [255]]),
       strategies.integers(0, 2 ** 32 - 1))
def test_colour_is_the_photos_or_nothing(height, width, values, seed):
    random = np.random.default_rng(seed)
    photo = random.integers(0, 256, (height, width, 3), np.uint8)
    alpha = random.choice(values, (height, width)).astype(np.uint8)
    before = photo.copy(), alpha.copy()
    result = estimate_foreground(photo, alpha)
    assert result.dtype == np.uint8 and result.shape == photo.shape
    assert np.array_equal(result[alpha == 255], photo[alpha == 255])
    assert not result[alpha == 0].any()
    assert np.array_equal(photo, before[0]) and np.array_equal(alpha, before[1])


def mix(colours, alpha, background):
    "What a viewer does with a cut-out."
    share = alpha[..., None] / 255
    return share * colours + (1 - share) * np.asarray(background)


def soft_disc(radius: float, softness: float, height: int = 60, width: int = 80) -> np.ndarray:
    "Alpha uint8 of a disc with a soft edge."
    y, x = np.mgrid[:height, :width]
    return np.uint8(np.clip((radius - np.hypot(y - height / 2, x - width / 2)) / softness + 0.5, 0,
                            1) * 255)


@settings(deadline=None, max_examples=100)
@given(colours, colours, strategies.floats(10, 25), strategies.floats(1, 8))
def test_a_new_background_shows_less_of_the_old_one_than_the_plain_ways(person, old, radius,
                                                                        softness):
    alpha = soft_disc(radius, softness)
    soft, photo = (alpha > 0) & (alpha < 255), np.uint8(np.round(mix(np.array(person), alpha, old)))
    ways = [estimate_foreground(photo, alpha), photo, np.round(photo * (alpha / 255)[..., None])]
    for new in ((0, 0, 0), (255, 255, 255), (0, 150, 80)):
        estimated, plain, multiplied = (np.abs(mix(way, alpha, new) - mix(np.array(person), alpha,
                                                                          new))[soft].mean()
                                        for way in ways)
        assert estimated <= min(plain, multiplied) + 0.5 # half a step of rounding


def test_hair_keeps_its_colour_on_any_background():
    background = read_image(val_photos[1])
    height, width = background.shape[:2]
    large, down = np.zeros((4 * height, 4 * width), np.uint8), np.linspace(0, 1, height)[:, None,
                                                                                         None]
    cv2.circle(large, (2 * width, 2 * height), height, 255, -1)
    for turn in np.linspace(0, 2 * np.pi, 90, endpoint=False):
        cv2.line(large, (2 * width, 2 * height),
                 (int(2 * width + 1.8 * height * np.cos(turn)),
                  int(2 * height + 1.8 * height * np.sin(turn))), 255, 3, cv2.LINE_AA)
    alpha = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)
    person = np.broadcast_to((1 - down) * (90, 50, 30) + down * (220, 150, 90), background.shape)
    photo, soft = np.uint8(np.round(mix(person, alpha, background))), (alpha > 0) & (alpha < 255)
    for new in ((0, 0, 0), (255, 255, 255), (0, 150, 80)):
        estimated, plain, multiplied = (np.abs(mix(way, alpha, new) - mix(person, alpha,
                                                                          new))[soft].mean()
                                        for way in (estimate_foreground(photo, alpha), photo,
                                                    photo * (alpha / 255)[..., None]))
        assert estimated < 0.2 * plain and estimated < 0.2 * multiplied


def test_cutout_hides_the_old_background(remover, photo):
    cutout = remover.cutout(photo)
    alpha = cutout[..., 3]
    assert 0 < (alpha == 255).mean() < 1 and not cutout[alpha == 0].any()
    assert np.array_equal(cutout[alpha == 255, :3], photo[alpha == 255])


# --- photos in

def test_array_path_bytes_and_pil_give_the_same(remover, photo, tmp_path):
    path = tmp_path / "ein Foto ü.png"
    write_image(path, photo)
    expected = remover.cutout(photo)
    for source in (path, str(path), path.read_bytes(), Image.open(path), Image.fromarray(photo)):
        assert np.array_equal(remover.cutout(source), expected)


@pytest.mark.parametrize("view",
                         [lambda one: one[:, ::-1], lambda one: one[::2, ::3],
                          lambda one: np.asfortranarray(one), lambda one: one.transpose(1, 0, 2)],
                         ids=["mirrored", "strided", "Fortran", "transposed"])
def test_views_give_what_their_copies_give(red_remover, view):
    disc = view(red_disc())
    disc.flags.writeable = False
    copy = np.array(disc, order="C")
    for method in (red_remover.mask, red_remover.cutout,
                   lambda one: red_remover.replace(one, "blur")):
        assert np.array_equal(method(disc), method(copy))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pil_images_are_turned_upright(orientation):
    stored, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).save(stored, "PNG", exif=exif)
    assert np.array_equal(as_image(Image.open(stored)),
                          np.asarray(ImageOps.exif_transpose(Image.open(stored))))


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_pil_images_of_any_mode_become_rgb(mode):
    picture = Image.fromarray(red_disc()).convert(mode)
    assert np.array_equal(as_image(picture), np.asarray(picture.convert("RGB")))


def test_pil_images_of_more_than_8_bits_are_refused():
    with pytest.raises(ValueError, match="I;16.*more than 8 bits"):
        as_image(Image.fromarray(np.zeros((4, 4), np.uint16)))


def test_pil_is_not_needed():
    code = "import sys, bg_remover.removal; print('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True).stdout.strip() == "False"


@pytest.mark.parametrize("image",
                         [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8),
                          np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
                         ids=["grey", "four channels", "float", "empty"])
def test_wrong_arrays_are_refused(remover, image):
    with pytest.raises(ValueError, match="uint8 H×W×3"): remover.cutout(image)


@pytest.mark.parametrize("thing", [None, 3, [[1, 2, 3]]])
def test_what_is_no_photo_is_refused(remover, thing):
    with pytest.raises(TypeError, match=f"not {type(thing).__name__}"): remover.cutout(thing)


def test_truncated_photo_is_named(remover, tmp_path):
    path = tmp_path / "cut.jpg"
    path.write_bytes(val_photos[0].read_bytes()[:-2000])
    with pytest.raises(ImageError, match="cut.jpg"): remover.cutout(path)


# --- threads

def test_threads_share_one_session(remover):
    calls = [(method, path) for path in val_photos[:4]
             for method in (lambda one: remover.cutout(one, empty_ok=True),
                            lambda one: remover.replace(one, "blur", empty_ok=True))]
    expected = [method(path) for method, path in calls]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda call: call[0](call[1]), calls * 3))
    assert all(np.array_equal(one, other) for one, other in zip(found, expected * 3))


# --- nobody there

# 100 / 255 is within the band of alpha
@pytest.mark.parametrize("red", [0, 100], ids=["nothing red", "red below the threshold"])
def test_nobody_is_an_answer(red_remover, tmp_path, red):
    path = tmp_path / "empty room.png"
    write_image(path, np.full((30, 40, 3), (red, 90, 90), np.uint8))
    assert not red_remover.mask(path).any()
    for call in (red_remover.cutout, lambda one,
                 **choice: red_remover.replace(one, (9, 8, 7), **choice)):
        with pytest.raises(PersonNotFound, match="empty room.png: nobody"): call(path)
        with pytest.raises(PersonNotFound, match="this photo: nobody"): call(read_image(path))
    assert not red_remover.cutout(path, empty_ok=True).any()
    assert (red_remover.replace(path, (9, 8, 7), empty_ok=True) == (9, 8, 7)).all()


# --- on a new background

@pytest.mark.parametrize("background", [(0, 0, 0), (255, 255, 255), (12, 200, 99)])
def test_replace_lays_the_cutout_on_a_colour(remover, photo, background):
    cutout, result = remover.cutout(photo), remover.replace(photo, background)
    assert result.dtype == np.uint8 and result.shape == photo.shape
    assert np.abs(result - mix(cutout[..., :3], cutout[..., 3], background)).max() <= 0.501
    assert (result[cutout[..., 3] == 0] == background).all()
    assert np.array_equal(result[cutout[..., 3] == 255], photo[cutout[..., 3] == 255])


def test_replace_takes_any_photo_as_background(red_remover, tmp_path):
    # 50×200
    stripes = np.repeat(np.uint8([[(10, 20, 30), (0, 99, 0), (0, 0, 99), (30, 20, 10)]]), 50,
                        axis=0).repeat(50, axis=1)
    write_image(tmp_path / "stripes.png", stripes)
    disc = red_disc(80, 160)
    expected = red_remover.replace(disc, stripes)
    for source in (tmp_path / "stripes.png", (tmp_path / "stripes.png").read_bytes(),
                   Image.fromarray(stripes)):
        assert np.array_equal(red_remover.replace(disc, source), expected)
    # 2 : 1, so the outer stripes are cropped off
    assert (expected[0, :75] == (0, 99, 0)).all() and (expected[0, 85:] == (0, 0, 99)).all()


@settings(deadline=None, max_examples=40)
@given(sides, sides, sides, sides)
def test_backgrounds_cover_photos_of_any_size(red_remover, height, width, rows, columns):
    photo = np.zeros((height, width, 3), np.uint8)
    assert (red_remover.replace(photo, np.full((rows, columns, 3), (5, 6, 7), np.uint8),
                                empty_ok=True) == (5, 6, 7)).all()


def test_background_is_cropped_not_stretched(red_remover):
    round_one = red_disc(100, 300, (0, 0, 0))
    seen = red_remover.replace(np.zeros((100, 100, 3), np.uint8), round_one, empty_ok=True)
    assert np.array_equal(seen, round_one[:, 100:200])


def test_blur_holds_nothing_of_the_person(red_remover):
    disc = red_disc(240, 320)
    blurred, alpha = red_remover.replace(disc, "blur"), red_remover.cutout(disc)[..., 3]
    assert np.abs(blurred[alpha == 0].astype(int) - (0, 120, 60)).max() <= 1
    assert np.array_equal(blurred[alpha == 255], disc[alpha == 255])


def test_blur_blurs(red_remover):
    noisy = red_disc(240, 320)
    noisy[..., 1:] = rng.integers(0, 256, (240, 320, 2), np.uint8)
    clear = red_remover.cutout(noisy)[..., 3] == 0
    blurred = red_remover.replace(noisy, "blur")[clear]
    assert blurred.std(axis=0).max() < 10 < noisy[clear][:, 1:].std(axis=0).min()
    assert np.abs(blurred[:, 1:].mean(axis=0) - noisy[clear][:, 1:].mean(axis=0)).max() < 5


@pytest.mark.parametrize("background",
                         [(0, 0, 256), (-1, 0, 0), (1, 2), (0.5, 0.5, 0.5), (1, 2, 3, 4),
                          ("a", "b", "c")])
def test_wrong_colours_are_refused(red_remover, background):
    with pytest.raises(ValueError, match="integers from 0 to 255"):
        red_remover.replace(red_disc(), background)


@pytest.mark.parametrize("background", [[1, 2, 3], None, 7])
def test_what_is_no_background_is_refused(red_remover, background):
    with pytest.raises(TypeError, match="expected a photo"):
        red_remover.replace(red_disc(), background)


# --- model files

@pytest.mark.parametrize("kept", [0, 1000, 0.5, 0.99])
def test_damaged_model_is_named(tmp_path, kept):
    data, path = shipped_model().read_bytes(), tmp_path / "net.onnx"
    path.write_bytes(data[:int(kept * len(data)) if kept < 1 else kept])
    with pytest.raises(ModelError, match="net.onnx"): Remover(path)


def test_missing_model_is_named(tmp_path):
    with pytest.raises(ModelError, match="nowhere.onnx"): Remover(tmp_path / "nowhere.onnx")


def test_foreign_onnx_is_refused(tmp_path):
    model = load(write_red_model(tmp_path / "foreign.onnx"))
    del model.metadata_props[:]
    save(model, tmp_path / "foreign.onnx")
    with pytest.raises(ModelError, match="not one that export_onnx wrote"):
        open_model(tmp_path / "foreign.onnx")


@pytest.mark.parametrize("text", ["{bad", "{}", "[]", "null", "3"])
def test_damaged_description_is_named(tmp_path, text):
    with pytest.raises(ModelError, match="net.onnx.*description"):
        Remover(write_red_model(tmp_path / "net.onnx", text=text))


wrong = [dict(image_size=value)
         for value in (64, "64", [64], [64, 64, 64], [64, 0], [64, -64], [64.0, 64.0], [True, 64],
                       ["64", "64"], None)]
wrong += [dict(threshold=value)
          for value in ("0.5", None, True, 0, 1, -0.1, 1.5, float("nan"), [0.5])]
wrong += [dict(min_peak_probability=value) for value in ("0.9", None, True, -0.1, 1, float("nan"))]
wrong += [dict(fit=value) for value in ("crop", None, 1)] + [dict(colour=value)
                                                             for value in ("BGR 0-255", None)]


@pytest.mark.parametrize("changes", wrong, ids=str)
def test_wrong_description_is_named(tmp_path, changes):
    with pytest.raises(ModelError, match=f"net.onnx.*description.*{next(iter(changes))}"):
        Remover(write_red_model(tmp_path / "net.onnx", **changes))


@pytest.mark.parametrize("network",
                         [dict(side=32), dict(names=("x", "probability")),
                          dict(names=("image", "y")), dict(channels=3),
                          dict(kind=TensorProto.UINT8)], ids=str)
def test_network_that_is_not_as_described_is_refused(tmp_path, network):
    with pytest.raises(ModelError, match="net.onnx.*the network has no"):
        Remover(write_red_model(tmp_path / "net.onnx", **network))


def test_right_description_is_accepted(tmp_path):
    remover = Remover(write_red_model(tmp_path / "net.onnx", threshold=0.25,
                                      min_peak_probability=0.5))
    assert remover.threshold == 0.25 and remover.min_peak_probability == 0.5


def test_files_of_earlier_versions_say_sure(tmp_path):
    old = write_red_model(tmp_path / "old.onnx", sure=0.5, made="2026-01-01")
    assert Remover(old).min_peak_probability == 0.5
    assert list(open_model(old)[1]) == ["image_size", "fit", "colour", "threshold",
                                        "min_peak_probability", "made"]
    with pytest.raises(ModelError, match="description.*min_peak_probability"):
        Remover(write_red_model(tmp_path / "bad.onnx", sure="0.9"))


# --- what is doubtful

def test_a_region_stays_whole_or_goes_whole():
    answer = np.full((20, 30), 0.1, np.float32) # below what can be seen, and in no region
    answer[2:8, 2:8], answer[4, 4] = 0.3, 0.9
    answer[2:8, 15:25] = 0.85
    kept = hysteresis_threshold(answer, 0.9)
    assert kept.dtype == np.float32 and np.array_equal(kept[:, :12], answer[:, :12])
    assert not kept[2:8, 15:25].any() and (kept[10:] == answer[10:]).all()
    assert np.array_equal(hysteresis_threshold(answer, 0.0), answer)


def test_a_dim_disc_is_nobody_to_a_network_that_wants_to_be_sure(tmp_path):
    both = np.zeros((128, 128, 3), np.uint8)
    cv2.circle(both, (32, 64), 20, (255, 0, 0), -1)
    cv2.circle(both, (96, 64), 20, (180, 0, 0), -1)
    easy, strict = (Remover(write_red_model(tmp_path / f"{peak}.onnx", min_peak_probability=peak))
                    for peak in (0.0, 0.9))
    assert easy.mask(both)[64, 32] and easy.mask(both)[64, 96]
    assert strict.mask(both)[64, 32] and not strict.mask(both)[64, 96]
    assert strict.alpha(both)[:, 70:].max() == 0
    with pytest.raises(PersonNotFound): strict.cutout(np.ascontiguousarray(both[:, 66:]))


def test_the_shipped_file_is_the_mean_of_the_shipped_weights_and_a_second_opinion(remover):
    from bg_remover.model import predict_probability, pretrained_unet
    model, share = pretrained_unet(image_size=remover.image_size), remover.description[
        "share_of_deeplab"]
    for path in val_photos[:4]: # on two of them is nobody
        image = cv2.resize(read_image(path), remover.image_size[::-1], interpolation=cv2.INTER_AREA)
        unet = predict_probability(model, image)
        second = (remover.answer(image) - (1 - share) * unet) / share
        assert -0.01 < second.min() and second.max() < 1.01
        people, others = unet > 0.9, second[unet < 0.1].mean()
        assert second[people].mean() > 4 * others if people.any() else others < 0.01
