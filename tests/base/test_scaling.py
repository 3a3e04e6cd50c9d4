"""Work beyond one process: a real Dask cluster on this machine, one of its workers killed in
mid-job, and executors that misbehave."""
import concurrent.futures
import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
from distributed import Client

from bg_remover import removal
from bg_remover.tool import folders
from bg_remover.base.errors import DataError
from bg_remover.base.work import batch_size
from bg_remover.base.pairs import make_batch
from bg_remover.data_prep import prepare_pair, prepare_pairs
from bg_remover.base.errors import FolderError
from bg_remover.tool.folders import Record, remove_folder
from bg_remover.images import write_image
from bg_remover.removal import Remover
from bg_remover.base.network import shipped_model
from stand_in import BrightRemover as Stub

root = Path(__file__).resolve().parents[2]
samples = root / "nbs/samples/mini_coco"
def environment() -> dict:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])}


class Cluster:
    """A scheduler and its workers, each a process of its own, started somewhere else than the
    tests are."""
    def __init__(self, folder: Path):
        self.folder, self.file, self.processes = folder, folder / "scheduler.json", []
        self.start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")

    def start(self, kind: str, *options) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--scheduler-file",
                   self.file, *options]
        self.processes.append(subprocess.Popen(command, cwd=self.folder, env=environment(),
                                               stdout=subprocess.DEVNULL,
                                               stderr=subprocess.DEVNULL))
        return self.processes[-1]

    def worker(self) -> subprocess.Popen:
        return self.start("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host",
                          "127.0.0.1", "--local-directory", self.folder)

    def close(self):
        for process in self.processes: process.kill()
        for process in self.processes: process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, s3):
    with contextlib.closing(Cluster(tmp_path_factory.mktemp("cluster"))) as made:
        made.workers = [made.worker(), made.worker()]
        yield made


@pytest.fixture(scope="module")
def client(cluster):
    with Client(scheduler_file=str(cluster.file), timeout=30, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


@pytest.fixture
def photos(tmp_path) -> Path:
    "Forty photos of different shades, some of them dark, and one that is none."
    for number in range(40):
        path = tmp_path / f"photos/{number % 4}/{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path,
                    np.full((10, 12, 3), 10 if number % 9 == 0 else 130 + 3 * number, np.uint8))
    (tmp_path / "photos/broken.jpg").write_bytes(b"no photo")
    return tmp_path / "photos"


def contents(folder: Path) -> dict[str, bytes | list]:
    """Every file by its name, the hidden note too; nobody.txt by its lines, for photos finish
    in any order."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*")
             if path.is_file()}
    return found | ({"nobody.txt": sorted(found["nobody.txt"].split())} if "nobody.txt" in found
                    else {})


def verdicts(records) -> list[tuple]:
    return sorted((record.path.name, record.verdict, record.share) for record in records)


# --- a cluster

def test_a_cluster_does_what_this_process_does(client, photos, tmp_path, monkeypatch):
    here = list(remove_folder(photos, tmp_path / "here", Stub()))
    monkeypatch.chdir(tmp_path) # relative names reach workers that stand elsewhere
    there = list(remove_folder("photos", "there", Stub(), executor=client.get_executor()))
    assert verdicts(here) == verdicts(there)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    again = remove_folder("photos", "there", Stub(), executor=client.get_executor())
    assert [record.verdict for record in again].count("skipped") == 40


def test_a_worker_killed_in_mid_job_is_not_missed(client, cluster, photos, tmp_path):
    here = list(remove_folder(photos, tmp_path / "here", Stub()))
    records = remove_folder(photos, tmp_path / "there", Stub(0.03), executor=client.get_executor())
    there = [next(records) for _ in range(6)]
    cluster.workers[0].kill()
    there += records
    assert verdicts(here) == verdicts(there)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    assert len(client.scheduler_info()["workers"]) == 1
    cluster.workers[0] = cluster.worker()
    client.wait_for_workers(2, timeout=60)


def test_the_network_that_ships_and_pairs_on_a_cluster(client, tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("000000343937.jpg", "000000168974.jpg", "000000349860.jpg"):
        shutil.copy(samples / "val2017" / name, tmp_path / "photos")
    for number, how in enumerate((dict(workers=2), dict(executor=client.get_executor()))):
        assert {record.verdict
                for record in remove_folder(tmp_path / "photos", tmp_path / f"cut{number}",
                                            background=samples / "val2017/000000041888.jpg",
                                            **how)} == {"done"}
        prepare_pairs(samples, "val", tmp_path / f"pairs{number}", **{} if number == 0 else how)
    cut, pairs = contents(tmp_path / "cut1"), contents(tmp_path / "pairs1")
    assert contents(tmp_path / "cut0") == cut and len(cut) == 4
    assert contents(tmp_path / "pairs0") == pairs and len(pairs) > 20


def test_a_cluster_that_works_in_a_store(client, photos, tmp_path, s3):
    here = list(remove_folder(photos, tmp_path / "here", Stub()))
    records = remove_folder(photos, f"{s3}/cluster", Stub(), executor=client.get_executor())
    assert verdicts(here) == verdicts(records)
    store = fsspec.filesystem("s3")
    cut = {path.removeprefix("bucket/cluster/"): store.cat_file(path)
           for path in store.find("bucket/cluster")}
    nobody = {name for name in cut if name.endswith(".nobody")}
    made = contents(tmp_path / "here")
    assert {f"{name.decode()}.nobody" for name in made.pop("nobody.txt")} == nobody
    assert made == {name: cut[name] for name in cut.keys() - nobody}


def command(*arguments, start: str = "", **how) -> subprocess.CompletedProcess:
    code = (f"{start}\nimport sys; from bg_remover.tool.cli import main; "
            "sys.argv[0] = 'bg-remover'; main()")
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], env=environment(),
                          capture_output=True, text=True, **how)


def test_the_command_on_a_cluster(client, tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("000000343937.jpg", "000000168974.jpg"):
        shutil.copy(samples / "val2017" / name, tmp_path / "photos")
    assert len(list(remove_folder(tmp_path / "photos", tmp_path / "here", workers=2))) == 2
    done = command("remove", "photos", "there", "--scheduler", client.scheduler.address,
                   cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "bg-remover: 2 done\n")
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_a_scheduler_that_cannot_be_used_is_one_line(photos, tmp_path):
    for said, source, start in (("tcp://127.0.0.1:9", photos, ""),
                                ('pip install "bg-remover[scale]"', photos, "import sys; "
                                 "sys.modules['distributed'] = None"),
                                ("leave out --scheduler", photos / "0/00.png", "")):
        begun = time.monotonic()
        done = command("remove", source, tmp_path / "out", "--scheduler", "tcp://127.0.0.1:9",
                       start=start)
        assert done.returncode == 2 and said in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1 and time.monotonic() - begun < 20, done.stderr
    assert not (tmp_path / "out").exists()


# --- executors of any kind

class AtOnce(concurrent.futures.Executor):
    "An executor that does each task at once, notes how large it was, and may do something first."
    def __init__(self, first=lambda: None): self.first, self.sizes = first, []

    def submit(self, function, batch):
        self.sizes.append(len(batch))
        future = concurrent.futures.Future()
        sent = pickle.dumps(function) # as to another process
        try: future.set_result((self.first(), pickle.loads(sent)(batch))[1])
        except Exception as error: future.set_exception(error)
        return future


def test_many_small_photos_are_few_calls_and_large_ones_stay_alone(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(200): (tmp_path / f"photos/{number:03}.jpg").write_bytes(b"no photo")
    executor = AtOnce()
    assert len(list(remove_folder(tmp_path / "photos", tmp_path / "out", Stub(), executor=executor,
                                  workers=1))) == 200
    assert sum(executor.sizes) == 200 and len(executor.sizes) < 60 and max(executor.sizes) == 32
    assert [batch_size(3, 3 * seconds) for seconds in (0, 0.01, 0.08, 0.3, 9)] == [32, 32, 6, 1, 1]


def test_a_worker_that_does_not_see_the_folders_says_so(photos, tmp_path):
    hide = lambda: (photos.exists() and photos.rename(tmp_path / "hidden")) and None
    with pytest.raises(FolderError, match="the worker there does not see .*shared"):
        list(remove_folder(photos, tmp_path / "out", Stub(), executor=AtOnce(hide)))
    with pytest.raises(FolderError, match="not visible on .*shared"):
        make_batch([], prepare_pair, tmp_path / "nowhere")


def test_a_worker_with_another_network_is_refused(photos, tmp_path):
    model = Path(shutil.copy(shipped_model(), tmp_path / "model.onnx"))
    other = model.read_bytes().replace(b'"kind": "person"', b'"kind": "nobody"')
    assert other != model.read_bytes()
    folders._open_once.cache_clear()
    with pytest.raises(FolderError, match="a different network"):
        list(remove_folder(photos, tmp_path / "out", model,
                           executor=AtOnce(lambda: model.write_bytes(other))))


def test_a_background_is_read_anew_when_it_has_changed_and_refused_when_it_changes(photos,
                                                                                   tmp_path):
    backdrop = tmp_path / "backdrop.png"
    for shade in (20, 200):
        write_image(backdrop, np.full((30, 40, 3), shade, np.uint8))
        list(remove_folder(photos, tmp_path / f"out{shade}", Stub(), executor=AtOnce(),
                           background=backdrop))
        list(remove_folder(photos, tmp_path / f"here{shade}", Stub(), background=backdrop))
        assert contents(tmp_path / f"out{shade}") == contents(tmp_path / f"here{shade}")
    removal._read_again.cache_clear()
    with pytest.raises(FolderError, match="sees another photo"):
        list(remove_folder(photos, tmp_path / "out", Stub(),
                           executor=AtOnce(lambda: write_image(backdrop,
                                                               np.zeros((9, 9, 3), np.uint8))),
                           background=backdrop))


def test_an_executor_that_fails_is_no_photos_affair(photos, tmp_path):
    def fail(): raise ModuleNotFoundError("No module named 'bg_remover'")
    with pytest.raises(FolderError, match="workers failed .ModuleNotFoundError: No module named "
                       "'bg_remover'"):
        list(remove_folder(photos, tmp_path / "out", Stub(), executor=AtOnce(fail)))
    with concurrent.futures.ThreadPoolExecutor(1) as closed: pass
    with pytest.raises(FolderError, match="workers failed .RuntimeError: cannot schedule"):
        list(remove_folder(photos, tmp_path / "out", Stub(), executor=closed))


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_batch_that_no_worker_survives_is_looked_into(tmp_path):
    """Dask tries a batch on worker after worker; then its photos are done here, each of them
    safely apart."""
    from distributed import KilledWorker
    for number in range(5):
        (tmp_path / "photos").mkdir(exist_ok=True)
        write_image(tmp_path / f"photos/{number}.png",
                    np.full((10, 13 if number == 2 else 12, 3), 200, np.uint8))
    def die(): raise KilledWorker("batch", None, 3)
    found = {record.path.name: record.verdict
             for record in remove_folder(tmp_path / "photos", tmp_path / "out", Stub(),
                                         executor=AtOnce(die), workers=2)}
    assert found == {"0.png": "done", "1.png": "done", "2.png": "failed", "3.png": "done",
                     "4.png": "done"}


def test_an_open_network_goes_to_threads_alone(tmp_path, client):
    remover = Remover(None, 1)
    photos = Path(shutil.copytree(samples / "val2017", tmp_path / "photos", ignore=lambda _,
                                  names: sorted(names)[2:]))
    with pytest.raises(TypeError, match="onnx file"):
        remove_folder(photos, tmp_path / "out", remover, executor=client.get_executor())
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        assert len(list(remove_folder(photos, tmp_path / "out", remover, executor=threads))) == 2
