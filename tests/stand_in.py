"""Networks that tests know the answers of; apart from the tests, so that a worker process need
not import those."""
import os
import signal
import time

import numpy as np

from bg_remover.base.network import KnownNetwork
from bg_remover.images import as_image, resize_image
from bg_remover.removal import Remover


class RedRemover(Remover):
    "What is red is a person."
    def __init__(self):
        self.image_size, self.threshold, self.min_peak_probability = (64, 64), 0.5, 0.0

    def answer(self, photo):
        pixels = np.float32(resize_image(as_image(photo), self.image_size)) / 255
        return np.clip(2 * (pixels[..., 0] - pixels[..., 1:].max(2)), 0, 1)


class BrightRemover(Remover):
    "A bright photo is a person, all of it; a photo 13 pixels wide kills its process."
    def __init__(self, slow: float = 0):
        self.image_size, self.threshold, self.min_peak_probability = (8, 8), 0.5, 0.0
        self.slow = slow

    def answer(self, photo):
        time.sleep(self.slow)
        if photo.shape[1] == 13: os.kill(os.getpid(), signal.SIGKILL)
        return np.full(self.image_size, photo.mean() / 255, np.float32)


def red_steps(known: KnownNetwork) -> list[tuple[str, list[str]]]: # operator, what it takes
    "From pixels as a network wants them back to red in 0–1, and from there to its answer."
    steps = [("Slice", ["", "from", "to", "axis"]), ("Mul", ["Slice", "deviation"]),
             ("Add", ["Mul", "mean"])]
    if known.answers == "logits":
        steps += [("Clip", ["Add", "small", "large"]), ("Sub", ["one", "Clip"]),
                  ("Div", ["Clip", "Sub"]), ("Log", ["Div"])]
    return steps + [("Identity", [steps[-1][0]])]


def numbers(known: KnownNetwork, kind: int) -> list: # tensors
    "The constants of these steps."
    from onnx import TensorProto, helper
    places = {"from": 0, "to": 1, "axis": 1}
    values = dict(mean=known.mean[0], deviation=known.deviation[0], one=1, small=1e-7,
                  large=1 - 1e-7)
    return [*(helper.make_tensor(name, TensorProto.INT64, [1], [value])
              for name, value in places.items()),
            *(helper.make_tensor(name, kind, [], [value]) for name, value in values.items())]


def write_known_network(path, known: KnownNetwork, sides=None, names=None, more: int = 0,
                        kind: str = "FLOAT"):
    """An .onnx file with the input and the answers of a well-known network: red in 0–1 if it is
    fed as that one is. `sides`, `names` and `kind` make it another, `more` adds smaller answers."""
    import onnx
    from onnx import TensorProto, helper
    asked, answer = names or known.names or ("x", "y")
    sides, kind = sides or (known.side, known.side), getattr(TensorProto, kind)
    nodes = [helper.make_node(step, inputs, [step]) for step, inputs in red_steps(known)]
    nodes[0].input[0], nodes[-1].output[0] = asked, answer
    maps, small = [f"map{i}" for i in range(1, known.maps)], [f"small{i}" for i in range(more)]
    nodes += [helper.make_node("Identity", [answer], [name]) for name in maps]
    nodes += [helper.make_node("MaxPool", [answer], [name], kernel_shape=[2, 2], strides=[2, 2])
              for name in small]
    half = [side // 2 if isinstance(side, int) else "half" for side in sides]
    outputs = [helper.make_tensor_value_info(name, kind, ["batch", 1, *sides])
               for name in (answer, *maps)]
    outputs += [helper.make_tensor_value_info(name, kind, ["batch", 1, *half]) for name in small]
    inputs = [helper.make_tensor_value_info(asked, kind, ["batch", 3, *sides])]
    model = helper.make_model(helper.make_graph(nodes, "red", inputs, outputs,
                                               numbers(known, kind)),
                              opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path
