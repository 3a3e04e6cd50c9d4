"""What more workers bring, what travels to them, and what the process that hands out the work
holds: `python benchmarks/scaling.py`.

    scaling.csv          photos in a second with one worker and with two, each of one thread, by
                         turns; medians. `remove` cuts the samples out, `prepare` makes pairs of
                         256×256, on processes of this machine and on workers of a Dask cluster on
                         it. `nannies` are workers as Dask starts them unless told `--no-nanny`:
                         their C library gives memory back at once and asks for it anew
    scaling_wire.csv     bytes for each photo: the task and the record as they travel, the task of a
                         pair, which holds COCO's outlines, the photo and its result as they lie on
                         a disk
    scaling_memory.csv   megabytes of the handing process over 100,000 tiny tasks: files that are no
                         photos, so that a task is next to nothing. `at_once` hands each of them
                         over by itself, all before the first is asked for; the others are
                         `remove_folder`

All three go to benchmarks/results; nbs/scale/scaling draws them. Memory is counted as in growth.py,
on Linux without what the system keeps of files. Four minutes on two quiet cores.
"""
import argparse
import multiprocessing
import pickle
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from unittest import mock

from claims import own_memory, short_floats, write_table
from preparation import prepare_pairs, repeat_coco, samples

from bg_remover.base import work as base_work
from bg_remover.removal import Remover
from bg_remover.tool import folders
from bg_remover.tool.folders import Record, remove_folder
from bg_remover.tool.photos import Request

here = Path(__file__).resolve()
counts = dict(remove=36, prepare=300) # photos in a round


@contextmanager
def processes(workers: int):
    "An executor on this machine."
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool: yield pool


@contextmanager
def dask(workers: int, kind: str = "distributed.Worker"):
    "A Dask cluster, whose scheduler, unlike LocalCluster's, is no part of the process measured."
    from distributed import Client, SubprocessCluster
    with SubprocessCluster(worker_class=kind, n_workers=workers, threads_per_worker=1,
                           dashboard_address=None) as cluster, Client(cluster) as client:
        client.wait_for_workers(workers)
        yield client.get_executor()


def nannies(workers: int): return dask(workers, "distributed.Nanny")


def work(task: str, folder: Path, dest: Path, executor: Executor, workers: int):
    "One round of a task."
    if task == "prepare": prepare_pairs(folder / "coco", "train", dest, executor=executor)
    else: list(remove_folder(folder / "photos", dest, executor=executor, workers=workers))


def throughput(folder: Path, rounds: int) -> list[dict]:
    """Photos in a second, for each task, kind of executor and number of workers. All executors
    are there all the time, and warm."""
    rates = {}
    with ExitStack() as stack:
        crews = {(make.__name__, workers): stack.enter_context(make(workers))
                 for make in (processes, dask, nannies) for workers in (1, 2)}
        for number in range(-1, rounds): # the first opens networks and counts for nothing
            for (kind, workers), executor in crews.items():
                for task, count in counts.items():
                    with tempfile.TemporaryDirectory() as dest:
                        begun = time.perf_counter()
                        work(task, folder, Path(dest) / "results", executor, workers)
                        rate = count / (time.perf_counter() - begun)
                    if number >= 0: rates.setdefault((task, kind, workers), []).append(rate)
    return [dict(task=task, executor=kind, workers=workers,
                 photos_per_second=statistics.median(found))
            for (task, kind, workers), found in sorted(rates.items())]


class Scales(Executor):
    "An executor that does each task at once and weighs what would travel."
    def __init__(self): self.sent = self.returned = 0

    def submit(self, *call) -> Future:
        self.sent += len(pickle.dumps(call))
        future = Future()
        future.set_result(call[0](*call[1:]))
        self.returned += len(pickle.dumps(future.result()))
        return future


def weigh(folder: Path) -> list[dict]:
    "Bytes for each photo."
    scales, pairs, photos = Scales(), Scales(), sorted((folder / "photos").iterdir())
    # half a second's work of a quiet core, so that the weight does not depend on the hour
    with mock.patch.object(base_work, "batch_size", return_value=6):
        records = list(remove_folder(folder / "photos", folder / "weighed", executor=scales,
                                     workers=1))
    def size(paths): return sum(path.stat().st_size for path in paths) / len(paths)
    prepare_pairs(folder / "coco", "train", folder / "paired", executor=pairs)
    rows = {"task": scales.sent / len(records), "record": scales.returned / len(records),
            "task of a pair": pairs.sent / counts["prepare"],
            "photo": size(photos),
            "result": size([record.output for record in records if record.output])}
    return [dict(what=what, bytes_per_photo=value) for what, value in rows.items()]


@cache
def shipped() -> Remover: return Remover() # once in each process


def look(path: Path) -> Record:
    "What a worker does with one file."
    return folders._make(path, path.with_suffix(".png"), shipped(), False, Request("png"))


def at_once(folder: Path):
    "Every task by itself, all handed over before the first is asked for."
    with processes(2) as pool:
        yield from [pool.submit(look, path) for path in folders.find_photos(folder)]


def few(make, folder: Path, dest: Path):
    "As `remove_folder` does it: a few tasks at a time."
    with make(2) as executor: yield from remove_folder(folder, dest, executor=executor, workers=2)


def memory_of(way: str, folder: Path, every: int):
    "Print the megabytes of this process as the records come."
    with tempfile.TemporaryDirectory() as dest:
        records = dict(at_once=at_once, processes=partial(few, processes, dest=Path(dest)),
                       dask=partial(few, dask, dest=Path(dest)))[way](folder)
        for number, record in enumerate(records):
            if isinstance(record, Future): record.result()
            if number % every == 0: print(number, own_memory(), flush=True)


def memory(tasks: int) -> list[dict]:
    "Each way in a process of its own."
    rows, every = [], tasks // 20
    with tempfile.TemporaryDirectory() as folder:
        for number in range(tasks):
            if number % 1000 == 0: (Path(folder) / f"{number // 1000:04}").mkdir()
            (Path(folder) / f"{number // 1000:04}/{number % 1000:03}.jpg").write_bytes(b"no photo")
        for way in ("at_once", "processes", "dask"):
            done = subprocess.run([sys.executable, here, "--way", way, "--folder", folder,
                                   "--every", str(every)], capture_output=True, text=True)
            if done.returncode: raise RuntimeError(done.stderr[-2000:])
            rows += [dict(way=way, tasks=int(line.split()[0]), megabytes=float(line.split()[1]))
                     for line in done.stdout.splitlines()]
    return rows


def keep(name: str, rows: list[dict]):
    "Print a table, and keep it among the results."
    rows = short_floats(rows)
    write_table(here.parent / "results" / name, rows)
    for row in rows: print(*row.values(), sep="  ", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=100_000,
                        help="0 leaves the memory as it was measured")
    for hidden in ("--way", "--folder"): parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--every", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way: return memory_of(options.way, Path(options.folder), options.every)
    with tempfile.TemporaryDirectory() as work_dir:
        folder, photos = Path(work_dir), sorted(samples.glob("*2017/*.jpg"))
        (folder / "photos").mkdir()
        for number in range(counts["remove"]):
            shutil.copyfile(photos[number % len(photos)], folder / f"photos/{number:03}.jpg")
        repeat_coco(samples, folder / "coco", counts["prepare"])
        keep("scaling_wire.csv", weigh(folder))
        keep("scaling.csv", throughput(folder, options.rounds))
    if options.tasks: keep("scaling_memory.csv", memory(options.tasks))


if __name__ == "__main__":
    main()
