"""An open network in other processes, and messages that blame the right thing."""
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bg_remover.base.network import ModelError, _why_not_open
from bg_remover.removal import Remover

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
    assert isinstance(_why_not_open("net.onnx",
                                    RuntimeError("Exception during initialization: std::bad_alloc")),
                      MemoryError)
    assert "threads" in str(_why_not_open("net.onnx",
                                          RuntimeError("pthread_create failed, error code: 11")))
    damaged = _why_not_open("net.onnx", RuntimeError("Protobuf parsing failed."))
    assert isinstance(damaged, ModelError) and "damaged" in str(damaged)
