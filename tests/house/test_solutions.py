"""The solutions run as nbdev runs notebooks: all in one process, without the cells that need a
screen; offline, their files untouched."""
import subprocess
import sys

import pytest

import house
from notebook_server import environment

root, solutions = house.root, house.solutions()


@pytest.mark.timeout(1200) # all of them; a minute or so on two quiet cores
def test_solutions_run():
    before = [path.read_bytes() for path in solutions]
    code = ("import sys; from nbdev.test import nbdev_test; "
            "nbdev_test(path=sys.argv[1], n_workers=0)")
    done = subprocess.run([sys.executable, "-c", code, str(root / "nbs/solutions")], cwd=root,
                          env={**environment, "TQDM_DISABLE": "1"}, capture_output=True, text=True)
    said = done.stdout[-4000:] + done.stderr[-8000:]
    assert done.returncode == 0 and "Success." in done.stdout, said
    assert [path.read_bytes() for path in solutions] == before
