"""A Keras that cannot train is refused before training, with the file or variable to change."""
import json
import os
import subprocess
import sys
from unittest import mock

import keras
import pytest

from bg_remover.base.backend import check_backend, keras_settings
from bg_remover.model import build_unet, pretrained_unet


@pytest.fixture
def machine(tmp_path, monkeypatch):
    "A machine whose keras.json says this, where Keras is not imported yet."
    def make(said: dict | str, backend: str | None = None):
        (tmp_path / "keras.json").write_text(said if isinstance(said, str) else json.dumps(said))
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.setenv("KERAS_BACKEND",
                           backend) if backend else monkeypatch.delenv("KERAS_BACKEND",
                                                                       raising=False)
        monkeypatch.delitem(sys.modules, "keras")
        return tmp_path / "keras.json"
    return make


@pytest.mark.parametrize("said",
                         [{}, "not json",
                          dict(backend="tensorflow", image_data_format="channels_last",
                               floatx="float32", epsilon=1e-7)], ids=str)
def test_what_keras_writes_itself_is_fine(machine, said):
    machine(said)
    check_backend(exports=True)


@pytest.mark.parametrize("said, value, wanted", [
    (dict(image_data_format="channels_first"), "channels_first", "channels_last"),
                                                 (dict(floatx="float16"), "float16", "float32"),
    (dict(floatx="bfloat16"), "bfloat16", "float32"),
                                                 (dict(backend="theano"), "theano", "tensorflow"),
                                                 (dict(backend="cntk"), "cntk", "tensorflow")],
                         ids=str)
def test_an_old_file_is_named_with_what_to_put_there(machine, said, value, wanted):
    path = machine(said)
    with pytest.raises(ValueError) as error: check_backend()
    for part in (str(path), next(iter(said)), f'"{value}"', f'"{wanted}"'):
        assert part in str(error.value)


def test_the_variable_counts_more_than_the_file(machine):
    machine(dict(backend="theano"), backend="tensorflow")
    check_backend(exports=True)
    assert keras_settings()["backend"][0] == "tensorflow"


def test_a_backend_that_is_not_installed_is_named(machine):
    machine({}, backend="torch")
    with (mock.patch("importlib.util.find_spec", return_value=None),
          pytest.raises(ValueError, match="KERAS_BACKEND asks for torch, which is not installed")):
        check_backend()


def test_jax_trains_but_does_not_export(machine):
    machine({}, backend="jax")
    with mock.patch("importlib.util.find_spec", return_value=object()): check_backend()
    with pytest.raises(ValueError, match='the variable KERAS_BACKEND says "jax", but training '
                       'needs "tensorflow"'):
        check_backend(exports=True)


def test_what_a_program_has_changed_counts():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        for make in (lambda: build_unet("mobilenetv2", (32, 32), None),
                     lambda: pretrained_unet(image_size=(32, 32))):
            with pytest.raises(ValueError, match="keras.config.set_image_data_format says "
                               "\"channels_first\""):
                make()
    finally: keras.config.set_image_data_format(before)


def test_asking_imports_no_keras():
    code = ("import sys; from bg_remover.base.backend import check_backend; check_backend(); "
            "sys.exit('keras' in sys.modules)")
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
