"""The network of the page "Try it" answers as `Remover` does: here by ONNX Runtime, in
test_browser.py in a real browser."""
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from bg_remover import removal
from bg_remover.images import read_image, resize_image, resize_probability
from bg_remover.removal import Remover
from bg_remover.base.network import onnxruntime, shipped_model

root = Path(__file__).resolve().parents[2]
sys.path.append(str(root / "docs"))
import page_model as page

samples = sorted((root / "nbs/samples/mini_coco/val2017").glob("*.jpg"))


def session(model: onnx.ModelProto):
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), quiet,
                                        providers=["CPUExecutionProvider"])


def build(step, kind: int, rank: int):
    "A function that runs one step of the page's network alone, on one array."
    graph = page.Graph()
    answer = step(page.Value(graph, "x"))
    inputs = [helper.make_tensor_value_info("x", kind, [None] * rank)]
    outputs = [helper.make_tensor_value_info(answer.name, TensorProto.FLOAT, None)]
    step_alone = helper.make_graph(graph.nodes, "step", inputs, outputs, graph.constants)
    ran = session(helper.make_model(step_alone, opset_imports=[helper.make_opsetid("", 17)],
                                    ir_version=8))
    return lambda x: ran.run(None, {"x": x})[0]


@pytest.fixture(scope="module")
def cut():
    "The page's answer to a photo."
    ran = session(page.page_model(shipped_model()))
    return lambda photo: ran.run(["cutout"],
                                 {"photo": np.dstack([photo,
                                                      np.full(photo.shape[:2], 7, np.uint8)])})[0]


@pytest.fixture(scope="module")
def remover(): return Remover()


def furthest(ours: np.ndarray, theirs: np.ndarray) -> float:
    "The largest difference in opacity, or in colour as much of it as is seen."
    seen = [np.dstack([each[..., :3] * (each[..., 3:] / 255), each[..., 3]])
            for each in (ours, theirs)]
    return np.abs(seen[0] - seen[1]).max()


@pytest.mark.parametrize("path", samples[::4], ids=lambda path: path.stem)
def test_samples_come_out_as_from_the_remover(cut, remover, path):
    photo = read_image(path)
    assert furthest(cut(photo), remover.cutout(photo, empty_ok=True)) <= 2


@pytest.mark.parametrize("size", [(1, 1), (5, 8), (77, 150), (768, 768), (768, 1024), (1300, 900),
                                  (200, 401), (1000, 300), (333, 900), (20, 350)],
                         ids=str)
def test_any_size_comes_out_as_from_the_remover(cut, remover, size):
    """Small ones, whose windows are mirrored many times, and those of twice a working size,
    where OpenCV rounds in its own way. Long ones, which are looked at in tiles."""
    photo = resize_image(read_image(root / "nbs/samples/mini_coco/val2017/000000343937.jpg"), size)
    photo = np.uint8(np.clip(photo + np.random.default_rng(0).integers(-6, 7, photo.shape), 0, 255))
    assert furthest(cut(photo), remover.cutout(photo, empty_ok=True)) <= 2


def test_nobody_is_an_empty_cutout(cut): assert not cut(np.full((40, 50, 3), 90, np.uint8)).any()


@pytest.mark.parametrize("size", [(384, 384), (40, 300), (9, 7)], ids=str)
def test_photos_are_brought_to_a_size_as_by_opencv(size):
    resize = build(lambda x: page.stretch_image(x,
                                                *[x.graph.Identity(page.whole(side))
                                                  for side in size]), TensorProto.UINT8, 3)
    for height, width in ((480, 640), (300, 500), (80, 600), (18, 14), (3, 5)):
        photo = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
        off = resize(photo).transpose(1, 2, 0) - resize_image(photo, size)
        assert np.abs(off).max() <= 1 and (off != 0).mean() < 1e-3, (height, width)


@pytest.mark.parametrize("size", [(480, 640), (100, 90), (20, 500)], ids=str)
def test_answers_are_brought_to_a_size_as_by_opencv(size):
    resize = build(lambda x: page.stretch_probability(x,
                                                      *[x.graph.Identity(page.whole(side))
                                                        for side in size]), TensorProto.FLOAT, 3)
    answer = np.random.default_rng(0).random((96, 128), np.float32)
    np.testing.assert_allclose(resize(answer[None])[0], resize_probability(answer, size), atol=1e-4)


@given(st.integers(0, 2**32 - 1), st.integers(1, 24), st.integers(1, 24),
       st.sampled_from([0.0, 0.1, 0.6, 0.9]))
@settings(max_examples=60, deadline=None)
def test_doubtful_regions_are_dropped_alike(seed, height, width, peak):
    values = np.random.default_rng(seed).choice(np.float32([0, 0.1, 0.14, 0.15, 0.4, 0.6, 0.89,
                                                            0.95]), (height, width),
                                                p=[0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05])
    np.testing.assert_array_equal(doubtful(peak)(values[None])[0],
                                  removal.hysteresis_threshold(values, peak))


@pytest.mark.parametrize("radius", [1, 12])
def test_means_are_those_of_a_box_filter(radius):
    average = build(lambda x: page.mean(x, radius), TensorProto.FLOAT, 3)
    for size in ((1, 1), (3, 40), (40, 50)):
        values = np.random.default_rng(1).random(size, np.float32)
        np.testing.assert_allclose(average(values[None])[0], removal._mean(values, radius),
                                   atol=1e-5)


_built = {}


def doubtful(peak: float):
    "`hysteresis_threshold` of the page, built once for each value."
    if peak not in _built:
        _built[peak] = build(lambda x: page.hysteresis_threshold(x, peak), TensorProto.FLOAT, 3)
    return _built[peak]
