"""What pictures show, read back from matplotlib's axes and from widgets; nothing here compares
with a stored picture."""
import datetime
import itertools
import tracemalloc

import cv2
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from bg_remover import visualization as show
from bg_remover.generator import Pairs
from bg_remover.base.errors import ImageError
from bg_remover.images import read_image, write_image, write_mask
from bg_remover.metrics import score


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def photo(height=12, width=16, value=100): return np.full((height, width, 3), value, np.uint8)

def left_half(height=12, width=16, value=255):
    mask = np.zeros((height, width), np.uint8)
    mask[:, :width // 2] = value
    return mask

def drawn(): return [axis for axis in plt.gcf().axes if axis.images]
def titles(): return [axis.get_title() for axis in drawn()]
def pictures(): return [np.asarray(axis.images[0].get_array()) for axis in drawn()]
def legend(): return [text.get_text() for text in plt.gcf().legends[0].get_texts()]
def mixed(value, colour): return np.round((value + np.array(show.colours[colour])) / 2)

def rows(val_ious, **more):
    return [dict(epoch=float(epoch), loss=1 / epoch, iou=0.9, val_loss=2 / epoch, val_iou=value)
            | more for epoch, value in enumerate(val_ious, 1)]


@pytest.mark.parametrize("image, wanted", [
    (np.array([[True, False]]), [[255, 0]]),
    (np.array([[0, 1]], np.uint8), [[0, 255]]),
    (np.array([[[0], [1]]], np.float32), [[0, 255]]),
    (np.array([[0, 128, 255]], np.uint8), [[0, 128, 255]]),
    (np.array([[0.0, 0.5, 1.0]], np.float32), [[0, 127, 255]]),
    (np.array([[-3.0, 100.7, 300.0]]), [[0, 100, 255]]),
    (np.zeros((1, 2), np.uint8), [[0, 0]]),
    (np.uint8([[[1, 0, 1]]]), [[[1, 0, 1]]]), # a nearly black photo
])
def test_to_pixels_takes_masks_probabilities_and_bytes(image, wanted):
    pixels = show.to_pixels(image)
    assert pixels.dtype == np.uint8 and pixels.tolist() == wanted


def test_to_pixels_leaves_the_callers_array_alone():
    image = np.array([[0.25, 1.0]])
    show.to_pixels(image)
    assert image.tolist() == [[0.25, 1.0]]


def test_checkerboard_squares_alternate_and_alpha_mixes():
    cutout = np.zeros((4, 4, 4), np.uint8)
    cutout[0, 0] = 10, 20, 30, 255
    cutout[3, 3] = 0, 0, 0, 128
    board = show.on_checkerboard(cutout, square=2)
    assert board.shape == (4, 4, 3) and board[0, 0].tolist() == [10, 20, 30]
    assert board[1, 1].tolist() == [255] * 3
    assert board[0, 2].tolist() == board[2, 0].tolist() == [204] * 3
    assert board[3, 3].tolist() == [round(255 * 127 / 255)] * 3


def test_checkerboard_is_laid_by_rows_and_columns_in_little_memory():
    for height, width, square in ((37, 25, 12), (5, 30, 1), (300, 200, 7)):
        board = show.on_checkerboard(np.zeros((height, width, 4), np.uint8), square)
        rows, columns = np.indices((height, width)) // square
        assert (board == np.where((rows + columns) % 2, 204, 255)[..., None]).all()
    clear = np.zeros((500, 800, 4), np.uint8)
    tracemalloc.start()
    show.on_checkerboard(clear)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 500 * 800, "bytes; a frame of a film has 8 million pixels"


def test_checkerboard_passes_on_what_has_no_alpha():
    for image in (photo(), left_half()): assert show.on_checkerboard(image) is image


def test_lay_on_takes_a_colour_or_a_photo():
    cutout = np.dstack([photo(value=200), left_half()])
    for background in ((0, 50, 0), np.full((12, 16, 3), (0, 50, 0))):
        laid = show.composite(cutout, background)
        assert laid[0, 0].tolist() == [200] * 3 and laid[0, 15].tolist() == [0, 50, 0]


def test_show_images_titles_rows_and_kinds():
    show.show_images([photo(), left_half(value=1), left_half() / 255,
                      np.dstack([photo(), left_half()])], list("abcd"), columns=3)
    assert titles() == list("abcd") and len(plt.gcf().axes) == 6
    assert pictures()[1].max() == 255 and pictures()[2].max() == 255
    assert pictures()[3].shape == (12, 16, 3)
    assert all(axis.images[0].get_clim() == (0, 255) for axis in drawn())


def test_show_images_fills_rows_of_five():
    show.show_images([photo()] * 7)
    grid = plt.gcf().axes[0].get_subplotspec().get_gridspec()
    assert len(drawn()) == 7 and grid.get_geometry() == (2, 5)


def test_a_tall_picture_makes_only_its_own_row_high():
    show.show_images([photo(20, 10), photo(10, 20)], columns=1, size=2)
    plt.gcf().canvas.draw()
    tall, flat = (axis.get_window_extent().height for axis in drawn())
    assert tall > 3 * flat and plt.gcf().get_figheight() == pytest.approx(5)


def test_long_titles_do_not_touch():
    show.show_images([photo()] * 3,
                     ["a rather long title that wants more room than its picture has"] * 3, size=2)
    plt.gcf().canvas.draw()
    boxes = [axis.title.get_window_extent() for axis in drawn()]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
    assert all(box.y1 <= plt.gcf().bbox.y1 for box in boxes)


@pytest.mark.parametrize("call, message", [
    (lambda: show.show_images([]), "no pictures"),
    (lambda: show.show_pairs([]), "no pictures"),
    (lambda: show.plot_predictions(lambda image: image[..., 0], []), "no pictures"),
    (lambda: show.plot_cutouts(lambda image: image, []), "no pictures"),
    (lambda: show.plot_worst(lambda image: image[..., 0], []), "no pair"),
    (lambda: show.plot_history({}), "no history"),
    (lambda: show.plot_history([]), "no rows"),
    (lambda: show.plot_history({"good": rows([0.5]), "empty": []}), "no rows"),
    (lambda: show.plot_history([dict(epoch=1.0, loss=1.0, iou=0.5)]), "val_iou.*epoch, loss, iou"),
    (lambda: show.show_images([photo()], ["one", "two"]), "2 titles for 1 pictures"),
    (lambda: show.show_pairs([(photo(), left_half(10, 16))]), r"pair 0.*\(12, 16\).*\(10, 16\)"),
    (lambda: show.plot_worst(lambda image: image[..., 0], [(photo(), left_half())],
                             which="ugliest"), "ugliest"),
])
def test_what_cannot_be_shown_is_said(call, message):
    with pytest.raises(ValueError, match=message): call()


def test_overlay_mask_colours_people_and_crowds():
    mask = left_half(30, 40)
    mask[:, 30:] = 128
    overlay = show.overlay_mask(photo(30, 40), mask)
    assert (overlay[15, 10] == mixed(100, "blue")).all()
    assert (overlay[15, 35] == mixed(100, "orange")).all()
    assert (overlay[15, 19] == show.colours["blue"]).all()
    assert (overlay[15, 30] == show.colours["orange"]).all()
    assert (overlay[15, 25] == 100).all()


def test_tint_without_outline_changes_those_pixels_only():
    where = left_half().astype(bool)
    image = photo()
    tinted = show.tint(image, where, (200, 0, 0), strength=1)
    assert (tinted[where] == (200, 0, 0)).all() and (tinted[~where] == 100).all()
    assert (image == 100).all()


def test_show_pairs_takes_a_batch():
    frames = np.stack([photo(), photo(value=250)]).astype(np.float32)
    masks = np.stack([left_half(value=1)] * 2).astype(np.float32)[..., None]
    show.show_pairs(list(zip(frames, masks)), ["one", "two"])
    assert titles() == ["one", "two"]
    for picture, value in zip(pictures(), (100, 250)):
        assert (picture[6, 3] == mixed(value, "blue")).all() and (picture[6, 12] == value).all()


@pytest.fixture
def pairs(tmp_path):
    """Three pairs: the person is the left half, twice beside a crowd; the frames say how well
    `predict` will do."""
    for folder in ("frames", "masks"): (tmp_path / folder).mkdir()
    for name, value in dict(a_good=200, b_bad=50, c_fair=120).items():
        write_image(tmp_path / "frames" / f"{name}.png", photo(value=value))
        mask = left_half()
        if name != "a_good": mask[:, 12:] = 128
        write_mask(tmp_path / "masks" / f"{name}.png", mask)
    return Pairs(tmp_path / "frames", tmp_path / "masks")


def predict(image):
    """All of the person on a bright frame, half on a middling one, none on a dark one; and
    always the right edge."""
    probability = np.zeros(image.shape[:2], np.float32)
    probability[:, :{50: 0, 120: 4, 200: 8}[int(image[0, 0, 0])]] = 0.9
    probability[:, 14:] = 0.8
    return probability


def test_show_pairs_reads_crowds_from_disk(pairs):
    show.show_pairs(pairs)
    good, bad, fair = pictures()
    assert (bad[6, 14] == mixed(50, "orange")).all() and (good[6, 14] == 200).all()


def test_rank_pairs_scores_as_metrics_does_and_sorts(pairs):
    ranked = show.rank_pairs(predict, pairs)
    assert [pairs.frame_paths[index].stem for index, _ in ranked] == ["b_bad", "c_fair", "a_good"]
    for index, value in ranked:
        frame, mask = show.read_pair(pairs, index)
        assert value == score(predict(frame), mask)["iou"]
    # the right edge counts against `good` alone: elsewhere it is crowd
    assert [value for _, value in ranked] == [0, 0.5, 0.8]


@pytest.mark.parametrize("kind", [np.uint8, np.float32]) # from `Pairs`, from `batches`
def test_a_nearly_black_frame_stays_black(kind):
    frame, mask = show.read_pair([(np.ones((4, 6, 3), kind), np.ones((4, 6, 1), kind))], 0)
    assert frame.dtype == np.uint8 and (frame == 1).all() and (mask == 255).all()


def test_rank_pairs_leaves_out_small_people():
    small = left_half()
    small[:, 1:] = 0
    ranked = show.rank_pairs(lambda image: np.ones(image.shape[:2]),
                             [(photo(), small), (photo(), left_half())], min_person_fraction=0.1)
    assert ranked == [(1, 0.5)]
    with pytest.raises(ValueError, match="none of 1 has at least 10% person"):
        show.rank_pairs(lambda image: np.ones(image.shape[:2]), [(photo(), small)],
                        min_person_fraction=0.1)


def test_plot_predictions_shows_four_pictures_a_pair(pairs):
    show.plot_predictions(predict, pairs)
    assert len(drawn()) == 12 and legend() == ["correct", "false negative", "false positive"]
    assert titles()[:4] == ["a_good", "truth", "probability", "IoU 0.80"]
    assert titles()[4::4] == ["b_bad", "c_fair"] and titles()[7::4] == ["IoU 0.00", "IoU 0.50"]
    assert pictures()[5][6, 14] == 128 and pictures()[6][6, 15] == 204


@pytest.mark.parametrize("which, names",
                         [("worst", ["b_bad", "c_fair"]), ("best", ["a_good", "c_fair"]),
                          ("median", ["b_bad", "c_fair"])])
def test_plot_worst_chooses_by_iou(pairs, which, names):
    show.plot_worst(predict, pairs, count=2, which=which)
    assert titles()[::4] == names


def test_median_is_the_middle(pairs):
    show.plot_worst(predict, pairs, count=1, which="median")
    assert titles()[0] == "c_fair"


def test_more_asked_than_there_are(pairs):
    show.plot_worst(predict, pairs, count=9, which="median")
    assert titles()[::4] == ["b_bad", "c_fair", "a_good"]


def test_the_threshold_reaches_score_and_overlay(pairs):
    show.plot_predictions(predict, pairs, indices=[0], threshold=0.85) # above the right edge's 0.8
    assert titles()[3] == "IoU 1.00" and (pictures()[3][6, 15] == round(200 * 0.55 + 40)).all()
    for threshold, expected in ((0.85, 1), (0.95, 0)):
        assert dict(show.rank_pairs(predict, pairs, threshold=threshold))[0] == expected
    show.plot_worst(predict, pairs, count=1, which="best", threshold=0.85)
    assert titles()[3] == "IoU 1.00"


def test_pairs_without_files_are_numbered():
    show.plot_predictions(predict,
                          [(photo(value=200), left_half()), (photo(value=50), left_half())],
                          indices=[1])
    assert titles()[0] == "1" and titles()[3] == "IoU 0.00"


def test_a_damaged_frame_is_named(pairs):
    pairs.frame_paths[1].write_bytes(b"")
    with pytest.raises(ImageError, match="b_bad.png"): show.plot_worst(predict, pairs)


def test_a_predictor_of_the_wrong_size_is_refused():
    with pytest.raises(ValueError):
        show.plot_predictions(lambda image: np.zeros((3, 3)), [(photo(), left_half())])


def test_overlay_errors_verdict_of_each_pixel():
    mask = np.array([[255, 255, 0, 0, 128, 128]], np.uint8)
    probability = np.array([[0.5, 0.49, 0.9, 0.1, 0.9, 0.1]])
    frame = photo(1, 6)
    right, missed, false, quiet, crowd, other_crowd = show.overlay_errors(frame, probability,
                                                                          mask)[0].astype(int)
    grey = 95
    for pixel, name in ((right, "correct"), (missed, "false negative"), (false, "false positive")):
        assert (pixel == np.round(grey * 0.4 + np.array(show.verdicts[name]) * 0.6)).all()
    assert (quiet == grey).all() and (crowd == other_crowd).all() and (crowd < grey / 2).all()
    assert (frame == 100).all()
    assert (show.overlay_errors(frame, probability, mask, threshold=0.95)[0, 0] == missed).all()


# What Machado, Oliveira and Fernandes (2009) compute for the three kinds of dichromacy, in linear
# RGB.
vision = dict(
    full=np.eye(3),
    protan=np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                     [-0.003882, -0.048116, 1.051998]]),
    deutan=np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]]),
    tritan=np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                     [0.004733, 0.691367, 0.303900]]))

def seen(colour, matrix):
    "Lab coordinates of an RGB colour as somebody sees it."
    share = np.asarray(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    linear = np.clip(matrix @ linear, 0, 1)
    share = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(np.float32(share).reshape(1, 1, 3), cv2.COLOR_RGB2Lab).ravel()


@pytest.mark.parametrize("matrix", vision.values(), ids=vision.keys())
@pytest.mark.parametrize("brightness", [0, 128, 255])
def test_verdicts_stay_apart_for_every_colour_vision(matrix, brightness):
    mask, probability = np.array([[255, 255, 0, 0]], np.uint8), np.array([[1, 0, 1, 0]], np.float32)
    overlay = show.overlay_errors(photo(1, 4, brightness), probability, mask)[0]
    for one, other in itertools.combinations([seen(pixel, matrix) for pixel in overlay], 2):
        # 2 to 3 is what an eye just tells apart side by side
        assert np.linalg.norm(one - other) > 12


def test_plot_history_lines_styles_and_best_epoch():
    show.plot_history({"one": rows([0.2, 0.6, 0.4]), "two": rows([0.3, 0.3])})
    loss, iou = plt.gcf().axes
    assert (loss.get_title(), iou.get_title()) == ("loss", "IoU")
    assert legend() == ["training photos", "validation photos", "one: best 0.600 in epoch 2",
                        "two: best 0.300 in epoch 1"]
    training, validation, dot = iou.lines[:3]
    assert (training.get_linestyle(), validation.get_linestyle(), dot.get_marker()) == ("--", "-",
                                                                                        "o")
    assert list(training.get_ydata()) == [0.9] * 3 and list(validation.get_ydata()) == [0.2, 0.6,
                                                                                        0.4]
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (2, 0.6)
    assert list(loss.lines[0].get_ydata()) == [1, 1 / 2,
                                               1 / 3] and loss.lines[2].get_ydata()[0] == 1
    assert len({tuple(axis.lines[number].get_color()) for axis in (loss, iou)
                for number in (0, 1, 2)}) == 1
    assert tuple(iou.lines[0].get_color()) != tuple(iou.lines[3].get_color())


def test_plot_history_of_one_run_with_one_row():
    show.plot_history(rows([0.4]))
    assert legend()[2:] == ["best 0.400 in epoch 1"] and len(plt.gcf().axes[0].lines) == 3


def test_plot_history_draws_more_runs_than_colours():
    show.plot_history({f"run {number}": rows([0.4]) for number in range(len(show.colours) + 1)})
    assert len(legend()) == len(show.colours) + 3


def test_a_wild_first_epoch_does_not_flatten_the_rest():
    history = rows([0.1] + [0.5] * 9)
    history[0]["val_loss"] = 500.0
    show.plot_history(history)
    assert plt.gcf().axes[0].get_ylim()[1] < 10


def test_a_run_that_diverged_is_still_drawn():
    history = rows([0.3, np.nan, np.nan], val_loss=np.inf)
    history[1]["loss"], history[2]["loss"] = np.inf, np.nan
    show.plot_history(history)
    assert legend()[2] == "best 0.300 in epoch 1" and 0 < plt.gcf().axes[0].get_ylim()[1] < 10
    assert show.best_row(rows([np.nan, 0.1]))["epoch"] == 2


def test_plot_cutouts_on_black_and_white():
    cutout = lambda image: np.dstack([image, left_half()])
    show.plot_cutouts(cutout, [photo(), photo(value=150)])
    assert titles() == ["photo", "cut-out", "on black", "on white"] * 2
    _, board, black, white = pictures()[4:]
    assert (black[6, 3] == 150).all() and (white[6, 3] == 150).all()
    assert (black[6, 12] == 0).all() and (white[6, 12] == 255).all()
    assert set(board[:, 8:].ravel()) == {204, 255}


def test_the_figure_can_be_saved_in_a_script(tmp_path):
    show.plot_history(rows([0.4]))
    plt.savefig(tmp_path / "history.png")
    assert cv2.imread(str(tmp_path / "history.png")).std() > 10


def test_plot_reliability_puts_promise_against_truth():
    table = np.array([[10, 1.0, 2], [0, 0, 0], [30, 27.0, 24]])
    show.plot_reliability({"ours": table})
    axis, = plt.gcf().axes
    line = axis.lines[1]
    np.testing.assert_allclose(line.get_xdata(), [0.1, 0.9]) # the empty bin has no dot
    np.testing.assert_allclose(line.get_ydata(), [0.2, 0.8])
    few, many = axis.collections[0].get_sizes()
    assert few < many
    # (1 + 3) / 40
    legend, = plt.gcf().legends
    assert [text.get_text() for text in legend.texts] == ["ours, error 0.100"]


# Widgets

def upload(box, name: str, data: bytes):
    "What the browser does when somebody chooses a file."
    button = box.children[0]
    button.value = ({"name": name, "type": "image/png", "size": len(data),
                     "last_modified": datetime.datetime.now(datetime.timezone.utc),
                     "content": memoryview(data)},)


def shown(comparison) -> np.ndarray: return read_image(bytes(comparison.children[1].value))


def test_split_view_has_before_on_the_left():
    before, after = photo(value=50), np.dstack([photo(value=200), left_half()])
    view = show.split_view(before, after, 0.25)
    assert (view[:, :3] == 50).all() and (view[:, 3:5] == 255).all()
    assert (view[:, 5:8] == 200).all() and set(view[:, 8:].ravel()) <= {204, 255}
    assert np.array_equal(show.split_view(before, after, 1), before)
    with pytest.raises(ValueError, match="same size"): show.split_view(before, after[:-1])


def test_the_slider_moves_the_line():
    comparison = show.before_after(photo(60, 100, 50), photo(60, 100, 200))
    slider, _ = comparison.children
    for place in (0.2, 0.5, 0.8):
        slider.value = place
        row = shown(comparison)[30, :, 0].astype(int)
        assert abs(int((row < 100).sum()) - 100 * place) <= 4, "before, up to the line"
        assert np.abs(row[-10:] - 200).max() <= 5
    slider.value = 0
    assert shown(comparison).min() > 190


def test_a_large_photo_is_shown_smaller():
    assert shown(show.before_after(photo(1000, 2000), photo(1000, 2000),
                                   longest=400)).shape == (200, 400, 3)


def test_an_uploaded_photo_is_cut_out(tmp_path):
    write_image(tmp_path / "mine.png", photo(60, 100, 50))
    box = show.try_photo(lambda image: np.dstack([image + np.uint8(150),
                                                  left_half(*image.shape[:2])]))
    assert len(box.children) == 1, "a button alone, before anything was chosen"
    upload(box, "mine.png", (tmp_path / "mine.png").read_bytes())
    comparison = box.children[1]
    comparison.children[0].value = 0.25
    row = shown(comparison)[30].astype(int)
    assert np.abs(row[5:20] - 50).max() <= 5 and np.abs(row[30:45] - 200).max() <= 5
    assert row[60:].min() > 190


def test_a_bad_upload_says_so_and_the_next_one_works(tmp_path):
    write_image(tmp_path / "mine.png", photo(60, 100))
    data = (tmp_path / "mine.png").read_bytes()
    box = show.try_photo(lambda image: np.dstack([image, left_half(*image.shape[:2])]))
    for bad, reason in ((data[:-20], "incomplete"), (b"not a photo", "not a photo"),
                        (b"", "empty")):
        upload(box, "bad.png", bad)
        assert box.children[1].value.startswith("bad.png: ") and reason in box.children[1].value
    upload(box, "mine.png", data)
    assert shown(box.children[1]).shape == (60, 100, 3)
