"""The Remover's contract, and what it says to bad files."""
import concurrent.futures
from pathlib import Path

import numpy as np
import pytest

from bg_remover.images import ImageError, read_image, write_image
from bg_remover.removal import ModelError, Remover, alpha_from, open_model, shipped_model

rng = np.random.default_rng(0)
val_photos = sorted((Path(__file__).parent.parent / "nbs/samples/mini_coco/val2017").glob("*.jpg"))


@pytest.fixture(scope="module")
def remover(): return Remover()


@pytest.fixture(scope="module")
def photo(): return read_image(val_photos[0])


def test_shapes_and_ranges(remover, photo):
    probability, mask, cutout = remover.probability(photo), remover.mask(photo), remover.cutout(photo)
    assert probability.dtype == np.float32 and probability.shape == photo.shape[:2]
    assert probability.min() >= 0 and probability.max() <= 1
    assert mask.dtype == bool and np.array_equal(mask, probability >= remover.threshold)
    assert cutout.dtype == np.uint8 and cutout.shape == (*photo.shape[:2], 4)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (33, 47)])
def test_any_size(remover, size):
    assert remover.cutout(rng.integers(0, 255, (*size, 3), np.uint8)).shape == (*size, 4)


def test_colour_is_the_photos_or_nothing(remover, photo):
    cutout = remover.cutout(photo)
    visible = cutout[..., 3] > 0
    assert 0 < visible.mean() < 1
    assert np.array_equal(cutout[visible, :3], photo[visible]) and not cutout[~visible].any()


def test_array_path_and_bytes_give_the_same(remover, photo, tmp_path):
    path = tmp_path / "ein Foto ü.png"
    write_image(path, photo)
    expected = remover.cutout(photo)
    for source in (path, str(path), path.read_bytes()): assert np.array_equal(remover.cutout(source), expected)


def test_threads_share_one_session(remover, photo):
    expected = remover.cutout(photo)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(one, expected) for one in pool.map(remover.cutout, [photo] * 8))


def test_alpha_climbs_in_the_band():
    alpha = alpha_from(np.float32([0, 0.29, 0.3, 0.5, 0.7, 0.71, 1]), 0.5)
    assert alpha.tolist() == [0, 0, 0, 128, 255, 255, 255]


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
                         ids=["grey", "four channels", "float", "empty"])
def test_wrong_arrays_are_refused(remover, image):
    with pytest.raises(ValueError, match="uint8 H×W×3"): remover.cutout(image)


def test_truncated_photo_is_named(remover, tmp_path):
    path = tmp_path / "cut.jpg"
    path.write_bytes(val_photos[0].read_bytes()[:-2000])
    with pytest.raises(ImageError, match="cut.jpg"): remover.cutout(path)


@pytest.mark.parametrize("kept", [0, 1000, 0.5, 0.99])
def test_damaged_model_is_named(tmp_path, kept):
    data, path = shipped_model().read_bytes(), tmp_path / "net.onnx"
    path.write_bytes(data[:int(kept * len(data)) if kept < 1 else kept])
    with pytest.raises(ModelError, match="net.onnx"): Remover(path)


def test_missing_model_is_named(tmp_path):
    with pytest.raises(ModelError, match="nowhere.onnx"): Remover(tmp_path / "nowhere.onnx")


def test_foreign_onnx_is_refused(tmp_path):
    from onnx import TensorProto, helper, save
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "foreign", ends[:1], ends[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "foreign.onnx")
    with pytest.raises(ModelError, match="not one that export_onnx wrote"): open_model(tmp_path / "foreign.onnx")


@pytest.mark.parametrize("text", ["{bad", "{}", "[]"])
def test_damaged_description_is_named(tmp_path, text):
    from onnx import load, save
    model = load(shipped_model())
    next(entry for entry in model.metadata_props if entry.key == "bg_remover").value = text
    save(model, tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="net.onnx.*description"): Remover(tmp_path / "net.onnx")


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.95])
def test_what_is_certain_is_clear_or_solid(threshold):
    assert alpha_from(np.float32([0, 1]), threshold).tolist() == [0, 255]


def test_shipped_file_agrees_with_shipped_weights(remover):
    from bg_remover.model import predict_probability, pretrained_unet
    model = pretrained_unet()
    for path in val_photos[:3]:
        image = read_image(path)
        ours, keras_answer = remover.probability(image), predict_probability(model, image)
        assert np.abs(ours - keras_answer).mean() < 1e-3
        assert ((ours >= remover.threshold) != (keras_answer >= remover.threshold)).mean() < 1e-3
