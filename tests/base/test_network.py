"""An open network in other processes, and messages that blame the right thing."""
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bg_remover.base import network
from bg_remover.base.network import (ModelError, NetworkNotice, _why_not_open, known_networks,
                                     open_model, shipped_model)
from bg_remover.removal import PersonNotFound, Remover
from stand_in import write_known_network

root = Path(__file__).resolve().parents[2]
person = root / "nbs/samples/mini_coco/val2017/000000343937.jpg"


def test_an_open_network_can_be_pickled():
    remover = Remover(threads=1)
    remover.threshold = 0.7
    again = pickle.loads(pickle.dumps(remover))
    assert again.threshold == 0.7 and np.array_equal(again.answer(person), remover.answer(person))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_forked_process_answers_and_ends(threads):
    code = f"""if True:
        import os, sys
        from bg_remover.removal import Remover
        remover = Remover(threads={threads})
        child = os.fork()
        if not child:
            print(remover.alpha({str(person)!r}).any(), flush=True)
            sys.exit(0)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code],
                          env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True,
                          text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_too_little_memory_or_too_few_threads_is_called_so():
    full = RuntimeError("Exception during initialization: std::bad_alloc")
    assert isinstance(_why_not_open("net.onnx", full), MemoryError)
    few = RuntimeError("pthread_create failed, error code: 11")
    assert "threads" in str(_why_not_open("net.onnx", few))
    damaged = _why_not_open("net.onnx", RuntimeError("Protobuf parsing failed."))
    assert isinstance(damaged, ModelError) and "damaged" in str(damaged)


# --- networks of others

by_name = {known.name: known for known in known_networks}


def reds(height=300, width=400) -> np.ndarray:
    "A photo whose red grows from left to right over green that stays."
    photo = np.zeros((height, width, 3), np.uint8)
    photo[..., 0], photo[..., 1] = np.linspace(0, 255, width).round(), 80
    return photo


@pytest.mark.parametrize("how", [dict(more=3), dict(sides=("height", "width")),
                                 dict(kind="FLOAT16")], ids=["fixed", "left open", "half"])
@pytest.mark.parametrize("known", known_networks, ids=lambda known: known.name)
def test_a_network_of_others_is_fed_as_it_wants(tmp_path, known, how):
    path = write_known_network(tmp_path / "other.onnx", known, **how)
    with pytest.warns(NetworkNotice,
                      match=f"other.onnx: recognised as {known.name}.*{known.licence[:3]}"):
        remover = Remover(path, 1)
    assert remover.image_size == (known.side, known.side) and remover.threshold == 0.5
    answer, photo = remover.answer(reds()), reds(known.side, known.side)
    assert answer.dtype == np.float32 and answer.shape == photo.shape[:2]
    assert np.abs(answer - photo[..., 0] / 255).max() < 0.01
    cut = remover.cutout(reds())
    assert cut[150, 390, 3] == 255 and cut[150, 60, 3] == 0


@pytest.mark.parametrize("name, wanted", [("U2-Net", 1.0), ("MODNet", 100 / 255)])
def test_only_some_are_fed_by_the_brightest_pixel(tmp_path, name, wanted):
    path = write_known_network(tmp_path / "other.onnx", by_name[name])
    with pytest.warns(NetworkNotice): remover = Remover(path, 1)
    photo = (reds() * (100 / 255)).round().astype(np.uint8)
    assert remover.answer(photo).max() == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize("red", [100, 255])
def test_a_map_that_lies_on_one_side_of_half_is_not_stretched(tmp_path, red):
    with pytest.warns(NetworkNotice):
        remover = Remover(write_known_network(tmp_path / "other.onnx", by_name["ISNet"]), 1)
    photo = np.full((60, 60, 3), (red, 0, 0), np.uint8)
    photo[20:40, 20:40, 0] -= 20 # stretched, this would be cut out, or cut away
    if red == 255: assert remover.alpha(photo).min() == 255
    else:
        with pytest.raises(PersonNotFound): remover.cutout(photo)


@pytest.mark.parametrize("name, how, said", [
    ("U2-Net", dict(sides=(321, 320)), "takes x batch×3×321×320 and gives y .* 5 more; use a file"),
    ("BiRefNet", dict(names=("input", "output")), "if it is BiRefNet.*input_image and output"),
    ("MODNet", dict(names=("img", "matte")), "if it is MODNet.*names input and output"),
    ("MODNet", dict(kind="DOUBLE"), "512×512 of double"),
    ("MODNet", dict(sides=(288, 512)), "U2-Net, ISNet, MODNet, BiRefNet")])
def test_what_cannot_be_told_apart_is_refused(tmp_path, name, how, said):
    path = write_known_network(tmp_path / "other.onnx", by_name[name], **how)
    with pytest.raises(ModelError, match=f"other.onnx.*not one that export_onnx wrote.*{said}"):
        open_model(path)


def test_a_network_of_others_goes_to_another_process_too(tmp_path):
    with pytest.warns(NetworkNotice):
        remover = Remover(write_known_network(tmp_path / "other.onnx", by_name["U2-Net"]), 1)
        again = pickle.loads(pickle.dumps(remover))
    assert np.array_equal(again.answer(person), remover.answer(person))


# --- threads

@pytest.mark.parametrize("threads, inside", [(0, 5), (3, 3)])
def test_both_pools_of_threads_are_set(monkeypatch, threads, inside):
    monkeypatch.setattr(network, "usable_cores", lambda: 5)
    options = open_model(shipped_model(), threads)[0].get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (inside, 1)


# --- processors, of which there is only one here

class Session:
    "onnxruntime's, on a machine where CUDA is there and works, fails, or is dropped in silence."
    real, cuda = network.onnxruntime.InferenceSession, "works"

    def __init__(self, path, options, providers, **more):
        self.asked, self.session = providers, self.real(path, options,
                                                        providers=["CPUExecutionProvider"])
        if providers[0] == "CUDAExecutionProvider" and self.cuda == "fails":
            raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected\nmore")

    def get_providers(self): return self.asked if self.cuda == "works" else self.asked[-1:]

    def __getattr__(self, name): return getattr(self.session, name)


@pytest.fixture
def machine(monkeypatch):
    "A machine with CUDA."
    monkeypatch.setattr(network.onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(network.onnxruntime, "get_available_providers",
                        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    return lambda cuda: monkeypatch.setattr(Session, "cuda", cuda)


@pytest.mark.parametrize("provider, first", [
    ("auto", "CUDAExecutionProvider"), ("cuda", "CUDAExecutionProvider"),
    ("cpu", "CPUExecutionProvider")])
@pytest.mark.filterwarnings("error")
def test_what_is_there_is_used_without_a_word(machine, provider, first):
    assert open_model(shipped_model(), 1, provider)[0].asked[0] == first


@pytest.mark.parametrize("provider, cuda, said", [
    ("openvino", "works", "openvino is not available.*CPU is used; install onnxruntime-openvino"),
    ("cuda", "fails", "CUDA.* does not work here.*CPU is used: CUDA failure 100.*detected$"),
    ("auto", "dropped", "CUDA.* does not work here.*CPU is used: its libraries")])
def test_a_processor_that_is_not_there_is_one_line(machine, capfd, provider, cuda, said):
    machine(cuda)
    with pytest.warns(NetworkNotice, match=said) as notices:
        session, _ = open_model(shipped_model(), 1, provider)
    assert session.asked == ["CPUExecutionProvider"] or cuda == "dropped"
    assert len(notices) == 1 and capfd.readouterr() == ("", "")


def test_an_unknown_processor_and_a_damaged_file_are_errors(machine, tmp_path):
    with pytest.raises(ModelError, match="provider must be auto, cpu, cuda.* not 'gpu'"):
        open_model(shipped_model(), 1, "gpu")
    (tmp_path / "net.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match="net.onnx: damaged"):
        open_model(tmp_path / "net.onnx", 1, "cuda")

