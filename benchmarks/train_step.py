"""Where a training step's time goes, and what could be taken from it.

    python benchmarks/train_step.py

Writes results/train_step.csv and results/train_step_operations.csv, and adds to results.json; some
twelve minutes on two quiet cores.

A step is of 16 photos of 256 × 256, on the U-Net with the original's backbone and on the shipped
one's, with the decoders that first_step.py gives them. Every way is measured in a new process, by
turns: one step to make the graph, then some that count; medians. The original is `sm.Unet` with
Keras' Adam and segmentation-models' loss and metric; *ours* is what `train` compiles, the others
change one thing of ours each.

train_step_operations.csv: TensorFlow's profiler on one step of ours, its operations one at a time;
the costliest by their type. The multiplications (2 floating-point operations each, with the
addition) are counted from the layers' shapes, in the direction named: forward, to the layer's
input, to its filter. *limit_ms* is what they would cost at the rate of one large product of float32
matrices on these cores.

Lost ideas. The compiler XLA (`jit_compile=True`): a step of the shipped network took ten times as
long. Channels before rows and columns: no 3 × 3 convolution of 32 to 256 channels got faster with
its gradients, those on large pictures took 1.3 to 1.6 times as long.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from claims import keep_claim, write_table
from first_step import batch_size, network, networks, sample_batches, size

root = Path(__file__).resolve().parent.parent
results, operations = (Path(__file__).parent / f"results/{name}.csv"
                       for name in ("train_step", "train_step_operations"))
# glibc gives nothing back to the system
kept_memory = dict(MALLOC_MMAP_MAX_="0", MALLOC_TRIM_THRESHOLD_="17179869184",
                   MALLOC_TOP_PAD_="268435456")
ways = {
    "the original": {},
    "ours": {},
    "encoder frozen": dict(frozen=True),
    "decoder of half the width": dict(decoder_share=0.5),
    "bfloat16": dict(precision="mixed_bfloat16"),
    "bfloat16, memory kept": dict(precision="mixed_bfloat16", environment=kept_memory),
    "bfloat16, memory kept, encoder frozen": dict(precision="mixed_bfloat16",
                                                  environment=kept_memory, frozen=True),
}


def compiled(way: str, backbone: str):
    "A network as one of the ways would train it."
    import keras
    from bg_remover.model import build_unet, freeze_encoder
    from bg_remover.base.backbones import segmentation_models
    from bg_remover.base.optimizers import EncoderRate
    from bg_remover.training import WholeSetIoU, bce_jaccard_loss
    keras.utils.set_random_seed(0)
    settings = ways[way]
    keras.config.set_dtype_policy(settings.get("precision", "float32"))
    sm = segmentation_models()
    if way == "the original":
        sm.set_framework("tf.keras")
        net = network("original", backbone)
        net.compile(keras.optimizers.Adam(1e-4), loss=sm.losses.bce_jaccard_loss,
                    metrics=[sm.metrics.iou_score])
        return net
    share = settings.get("decoder_share", 1)
    decoder = tuple(int(filters * share) for filters in networks[backbone])
    net = build_unet(backbone, size, None, decoder)
    if settings.get("frozen"): freeze_encoder(net, 1.0)
    net.compile(EncoderRate(1e-4), loss=bce_jaccard_loss, metrics=[WholeSetIoU()])
    net.optimizer.build(net.trainable_variables)
    return net


# seconds of each step, on the clock
def measure(way: str, backbone: str, steps: int) -> list[float]:
    "A few steps in this process, which must be new."
    net, batch, seconds = compiled(way, backbone), sample_batches()[0], []
    for _ in range(1 + steps):
        begun = time.perf_counter()
        net.train_on_batch(*batch)
        seconds.append(time.perf_counter() - begun)
    return seconds[1:]


def in_new_process(what: str, way: str, backbone: str):
    "The seconds of so many steps, or the costs of the operations, from a process of its own."
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **ways[way].get("environment", {})}
    line = [sys.executable, __file__, "--one", what, way, backbone]
    return json.loads(subprocess.run(line, env=environment, check=True, capture_output=True,
                                     text=True).stdout.splitlines()[-1])


# What the operations cost

# floating-point operations of one batch, by the type of TensorFlow's operation
def multiplications(net) -> Counter:
    """Two for each multiplication of a convolution: forward, to its input (except the first,
    whose input is the photo) and to its filter."""
    import keras
    counts = Counter()
    layers = [layer for layer in net._flatten_layers()
              if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D))]
    for layer in layers:
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        height, width, channels = layer.output.shape[1:]
        rows, columns, inputs, _ = layer.kernel.shape
        products = rows * columns * (1 if depthwise else inputs) # for one number of the output
        each = 2 * batch_size * height * width * channels * products
        name = "DepthwiseConv2dNative" if depthwise else "Conv2D"
        directions = ["", "BackpropFilter"]
        if inputs != 3: directions.append("BackpropInput")
        for direction in directions: counts[name + direction] += each
    return counts


def profiled(net, batch) -> Counter: # milliseconds by the type of the operation
    "What TensorFlow's profiler tells of one step."
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder): net.train_on_batch(*batch)
        path, = Path(folder).rglob("*.xplane.pb")
        planes = XSpace.FromString(path.read_bytes()).planes
    spent = Counter()
    for plane in planes:
        for event in (event for line in plane.lines for event in line.events):
            operation = re.fullmatch(r"[^:]+:(?:_MklNative)?([A-Z]\w*)",
                                     plane.event_metadata[event.metadata_id].name)
            if operation: spent[operation[1]] += event.duration_ps / 1e9
    return spent


def matrix_rate() -> float: # floating-point operations a millisecond
    "How fast these cores multiply large matrices of float32."
    import tensorflow as tf
    side, seconds = 2048, []
    matrix, multiply = tf.random.normal((side, side)), tf.function(tf.matmul)
    for _ in range(8):
        begun = time.perf_counter()
        multiply(matrix, matrix).numpy()
        seconds.append(time.perf_counter() - begun)
    return 2 * side**3 / statistics.median(seconds) / 1e3


def costliest(backbone: str, count: int = 8) -> list[dict]: # rows of the csv
    "The operations of one step of ours that take longest, in this process, which must be new."
    import tensorflow as tf
    # one at a time, or their times would hold each other's
    tf.config.threading.set_inter_op_parallelism_threads(1)
    net, batch = compiled("ours", backbone), sample_batches()[0]
    for _ in range(2): net.train_on_batch(*batch)
    spent, counts, rate = profiled(net, batch), multiplications(net), matrix_rate()
    # with a bias or an activation
    for forward in ("Conv2D", "DepthwiseConv2dNative"):
        spent[forward] += spent.pop("Fused" + forward, 0)
    whole = sum(spent.values())
    return [dict(network=backbone, operation=name, ms=f"{ms:.0f}", share=f"{ms / whole:.3f}",
                 gflop=f"{counts[name] / 1e9:.1f}" if counts[name] else "",
                 gflop_per_second=f"{counts[name] / ms / 1e6:.0f}" if counts[name] else "",
                 limit_ms=f"{counts[name] / rate:.0f}" if counts[name] else "")
            for name, ms in spent.most_common(count)]


# The table

def compare(backbone: str, runs: int, steps: int, limit_ms: float) -> list[dict]: # rows of the csv
    "All ways by turns; keeps a claim for ours and one for the fastest without anything frozen."
    found = {way: [] for way in ways}
    for _ in range(runs):
        for way in ways:
            found[way].append(statistics.median(in_new_process(str(steps), way, backbone)))
    for way in ("ours", "bfloat16, memory kept"):
        keep_claim(f"a training step, {way} ({backbone}, {size[0]}², batch {batch_size})",
                   found[way], found["the original"], unit="s", limit=[limit_ms / 1e3],
                   less_is_better=True)
    middle = {way: statistics.median(each) for way, each in found.items()}
    return [dict(network=backbone, way=way, seconds=f"{taken:.2f}",
                 photos_per_second=f"{batch_size / taken:.1f}",
                 times_the_original=f"{middle['the original'] / taken:.2f}")
            for way, taken in middle.items()]


def keep(path: Path, rows: list[dict]):
    "Keep a table, and print it."
    write_table(path, rows)
    for row in rows: print("  ".join(f"{value:>12}" for value in row.values()))


def main(runs: int, steps: int):
    costs = {backbone: in_new_process("operations", "ours", backbone) for backbone in networks}
    keep(operations, sum(costs.values(), []))
    limits = {backbone: sum(float(row["limit_ms"] or 0) for row in rows)
              for backbone, rows in costs.items()}
    keep(results, [row for backbone in networks
                   for row in compare(backbone, runs, steps, limits[backbone])])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--one", nargs=3, metavar=("WHAT", "WAY", "BACKBONE"),
                        help="measure once in this process, and print json")
    options = parser.parse_args()
    if options.one:
        what, way, backbone = options.one
        print(json.dumps(costliest(backbone) if what == "operations"
                         else measure(way, backbone, int(what))))
    else: main(options.runs, options.steps)
