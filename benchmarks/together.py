"""Is training faster on two workers than on one, and what goes over the wire? `python
benchmarks/together.py`, some three minutes on two quiet cores.

The shipped kind of network (MobileNetV2, a slim decoder) at 256×256 learns from batches of 8, a few
steps, in four ways, each in new processes:

    tensorflow  1 core      one process, held to one core
    tensorflow  2 cores     one process, whose threads share both
    jax         1 worker    one process, held to one core
    jax         2 workers   two processes on 127.0.0.1, each held to a core of its own: two small
                            hosts with a perfect network

A step's time is the median of those after the first, its reading of photos included; beside it
stand the processor seconds of one worker, which other work on the machine changes less, and which
leave out the waiting for others. What a worker sends is what the loopback interface counted
meanwhile, divided by the workers (other traffic on it is counted too). The batch stays the same:
this is the setting of Amdahl's law. Rows go to benchmarks/results/together.csv; nbs/scale/devices
draws them. The losses of both numbers of workers have to agree, or the script stops.

How hosts train together was chosen by trying, with Keras 3.15.1, TensorFlow 2.21.0 and JAX 0.10.2
on Python 3.11:

    MultiWorkerMirroredStrategy, `fit`
        fails: `_maybe_symbolic_build` reduces a tuple ("Attempt to convert a value (PerReplica…");
        past that, `reduce_per_replica` reduces a scalar along axis 0. Keras' author: "Keras 3 does
        not work with" it (keras-team/keras#20585, open)
    MultiWorkerMirroredStrategy, own loop
        works (two processes end alike), but `fit`, its callbacks, metrics and validation would all
        be ours to write again
    keras.distribution.DataParallel, JAX
        works with the same `fit`: losses equal to one process within 1e-6, batch normalisation over
        the whole batch; Keras tests it with several processes (keras-team/keras#23105, 2026).
        Chosen
    tf-keras 2.21.0 (legacy)
        works on a small network, but is another Keras: networks, loss, metric and optimizer of this
        package are Keras 3's
    Horovod 0.28.1
        its last release is of June 2023, before Keras 3, and has no wheel; not tried further
"""
import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from claims import write_table
from preparation import prepare_pairs, samples

table = Path(__file__).parent / "results/together.csv"
size, batch_size, steps = (256, 256), 8, 6
# backend, workers, cores
ways = (("tensorflow", 1, (0,)), ("tensorflow", 1, (0, 1)), ("jax", 1, (0,)), ("jax", 2, (0, 1)))


def loopback_bytes() -> int:
    "What went through this machine's own interface since it started; Linux counts it."
    rows = [line.split() for line in Path("/proc/net/dev").read_text().splitlines()]
    return next(int(row[9]) for row in rows if row[0] == "lo:")


def build(strategy):
    "The same network for all workers."
    import keras
    from bg_remover.model import build_unet
    keras.utils.set_random_seed(0)
    with strategy.scope() if strategy else contextlib.nullcontext():
        return build_unet("mobilenetv2", size, None, (64, 48, 32, 24, 16))


# prints what each step took and sent, losses, bytes of the gradients
def measure(folder: Path, address: str, workers: int, number: int):
    "One worker's part of a short training."
    import keras
    from bg_remover.generator import Pairs, augment_pair, batches
    from bg_remover.training import photo_jaccard_loss, train
    strategy, marks, losses = None, [], []
    if workers > 1:
        import jax
        jax.distributed.initialize(address, workers, number, heartbeat_timeout_seconds=30)
        strategy = keras.distribution.DataParallel()
    def note(step, logs):
        losses.append(float(logs["loss"])) # waits for the step
        marks.append((time.perf_counter(), time.process_time(), loopback_bytes()))
    net, pairs = build(strategy), Pairs(folder / "frames", folder / "masks")
    train(net, batches(pairs, size, batch_size, shuffle=True, augment=augment_pair, steps=steps),
          batches(pairs[:batch_size], size, batch_size), folder / f"run-{address}", 1,
          loss=photo_jaccard_loss, strategy=strategy, verbose=0,
          more_callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=note)])
    seconds, processor, sent = np.median(np.diff(marks, axis=0), axis=0).tolist()
    gradients = sum(4 * int(np.prod(weight.shape)) for weight in net.trainable_weights)
    print(json.dumps(dict(seconds=seconds, processor=processor, sent=sent / workers, losses=losses,
                          gradients=gradients)))


def run_way(folder: Path, backend: str, workers: int, cores: tuple[int, ...]) -> dict:
    "What the first of the workers measured."
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    environment, processes = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}, []
    for number in range(workers):
        held = ",".join(map(str, cores if workers == 1 else cores[number:number + 1]))
        line = [sys.executable, __file__, "--worker", folder, address, str(workers), str(number),
                held]
        processes.append(subprocess.Popen(line, env=environment, text=True, stdout=subprocess.PIPE,
                                          stderr=subprocess.PIPE))
    said = [process.communicate() for process in processes]
    for process, (_, complaint) in zip(processes, said):
        if process.returncode: raise RuntimeError(complaint[-2000:])
    return json.loads(said[0][0].splitlines()[-1])


def row_of(backend: str, workers: int, cores: tuple[int, ...], found: dict) -> dict:
    "A row of the table, from what one way measured."
    return dict(backend=backend, workers=workers, cores=len(cores), batch=batch_size, side=size[0],
                seconds=f"{found['seconds']:.3g}", processor_seconds=f"{found['processor']:.3g}",
                sent_megabytes=f"{found['sent'] / 1e6:.1f}",
                gradient_megabytes=f"{found['gradients'] / 1e6:.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        folder, address, workers, number, cores = options.worker
        os.sched_setaffinity(0, map(int, cores.split(",")))
        return measure(Path(folder), address, int(workers), int(number))
    rows, losses = [], []
    with tempfile.TemporaryDirectory() as work:
        folder = prepare_pairs(samples, "train", Path(work) / "pairs", size=None)
        for backend, workers, cores in ways:
            found = run_way(folder, backend, workers, cores)
            rows.append(row_of(backend, workers, cores, found))
            if backend == "jax": losses.append(found["losses"])
            print(f"{backend:10} {workers} worker(s) on {len(cores)} core(s): "
                  f"{found['seconds']:6.2f} s a step ({found['processor']:.2f} processor s), "
                  f"{batch_size / found['seconds']:5.2f} photos/s", flush=True)
    np.testing.assert_allclose(*losses, atol=1e-3)
    write_table(table, rows)
    print(f"sent by each worker in a step {rows[-1]['sent_megabytes']} MB; the gradients are "
          f"{rows[-1]['gradient_megabytes']} MB")


if __name__ == "__main__":
    main()
