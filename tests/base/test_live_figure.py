"""Live figures in Python: what they carry, and what stands where nothing can move."""
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from bg_remover.base import figures
from bg_remover.base.figures import StillFigure, figure_source, live_figure, mime_type, picture_url

folder = Path(figures.__file__).resolve().parent.parent / "figures"
names = sorted({path.stem for path in folder.glob("*.js")} - {"shared"})
still = {"a picture": np.zeros((6, 8), np.uint8)}


def decode(url: str) -> np.ndarray: # uint8 H×W×3
    import base64
    data = np.frombuffer(base64.b64decode(url.removeprefix("data:image/webp;base64,")), np.uint8)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.fixture
def kernel(monkeypatch):
    "Jupyter, as far as a figure asks for it."
    monkeypatch.setattr(figures, "_has_kernel", lambda: True)


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 5, 3), (31, 64, 3)])
def test_a_picture_arrives_pixel_by_pixel(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert (decode(picture_url(image)) == image).all()


def test_masks_arrive_too():
    mask = np.uint8([[0, 128], [255, 0]])
    assert (decode(picture_url(mask))[..., 0] == mask).all()
    assert (decode(picture_url(mask == 255))[..., 1] == 255 * (mask == 255)).all()


def test_without_a_kernel_it_is_a_picture_with_its_data_and_state():
    figure = live_figure("threshold", {"masks": [np.eye(4, dtype=bool)], "kernel": np.eye(2)},
                         still, threshold=128)
    bundle = figure._repr_mimebundle_()
    assert isinstance(figure, StillFigure) and figure.threshold == 128
    assert bundle["image/jpeg"].startswith("/9j/") and "threshold=128" in bundle["text/plain"]
    stored = bundle[mime_type]
    assert stored["state"] == {"threshold": 128} and stored["data"]["kernel"] == [[1, 0], [0, 1]]
    assert (decode(stored["data"]["masks"][0])[..., 0] == 255 * np.eye(4)).all()
    assert not [kind for kind in bundle if "widget" in kind]


def test_in_a_kernel_it_is_a_widget_whose_state_python_sets(kernel):
    figure = live_figure("threshold", {"photos": []}, still, threshold=128, channel="grey")
    bundle, _ = figure._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "image/jpeg", mime_type} <= set(bundle)
    seen = []
    figure.observe(lambda change: seen.append(change["new"]), "threshold")
    figure.threshold = 90
    assert seen == [90] and figure.channel == "grey"
    assert {"_esm", "_css", "data", "threshold"} <= set(figure.get_state())


def test_without_anywidget_it_says_how_to_get_it(kernel, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    assert isinstance(live_figure("threshold", {}, still, threshold=1), StillFigure)
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and 'pip install "bg-remover[learn]"' in said


@pytest.mark.parametrize("name", names)
def test_the_code_is_one_module_that_imports_nothing(name):
    source = figure_source(name)
    assert source.count("export default") == 1 and "function iou(" in source
    assert not [line for line in source.splitlines() if line.startswith(("import ", "export "))
                and not line.startswith("export default")]


def test_an_unknown_figure_is_named():
    with pytest.raises(FileNotFoundError, match="nothing.js"): figure_source("nothing")
