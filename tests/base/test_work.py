"""As many threads as the process may use."""
import os
import threading
import time

import numpy as np
import pytest

from bg_remover.base import pairs
from bg_remover.base.errors import DataError
from bg_remover.base.work import usable_cores
from bg_remover.generator import Batches


@pytest.mark.parametrize("files, wanted", [
    ({}, 8), ({"cpu.max": "max 100000"}, 8), ({"cpu.max": "150000 100000"}, 2),
    ({"cpu.max": "900000 100000"}, 8), ({"cpu.max": "1000 100000"}, 1),
    ({"cpu.max": "400000 100000", "job/cpu.max": "max 100000"}, 4),
    ({"cpu.max": "400000 100000", "job/cpu.max": "300000 100000"}, 3),
    ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    ({"cpu/job/cpu.cfs_quota_us": "250000", "cpu/job/cpu.cfs_period_us": "100000"}, 3),
    ({"cpu.max": "a lot"}, 8)], ids=str)
def test_cores_are_those_the_process_may_use(tmp_path, monkeypatch, files, wanted):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "own").write_text("3:cpu,cpuacct:/job\n0::/job\n")
    assert usable_cores(tmp_path, tmp_path / "own") == wanted


def test_cores_without_linux(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores(tmp_path / "none", tmp_path / "none") == 6


def fill(step, folder):
    with pytest.raises(DataError, match="no pair could be made"): # `step` writes none
        pairs.fill_folder(folder, list(range(8)), step, {"size": 9})


def group(step, folder): pairs.group_alike([folder / f"{number}.jpg" for number in range(8)])


def read_batch(step, folder): Batches(step, 8, 8, False, 0, None)[0]


@pytest.mark.parametrize("work", [fill, group, read_batch], ids=lambda work: work.__name__)
def test_threads_are_no_more_than_the_cores_allowed(tmp_path, monkeypatch, work):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    used = set()
    def step(*anything): # slow, so that every thread gets some
        used.add(threading.get_ident())
        time.sleep(0.01)
        return ()
    def grey_photo(*anything):
        step()
        return np.zeros((9, 9), np.uint8)
    monkeypatch.setattr(pairs, "decode_image", grey_photo)
    work(step, tmp_path)
    assert len(used) == 1
