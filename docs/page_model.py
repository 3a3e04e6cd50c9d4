"""Make the network of the page "Try it": one ONNX file that takes a photo and gives the cut-out, as
`Remover.cutout` does.

    python docs/page_model.py FILE        writes it; `make docs` does so for the site

In the middle stands the shipped network, unchanged; before and behind it the steps of
bg_remover.removal, in ONNX's own operators, so that a browser needs no code of ours but the page.
tests/house/test_try_it.py compares its answers with those of `Remover`, step by step.
"""
import inspect
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bg_remover import removal
from bg_remover.base.network import shipped_model


class Value:
    """The output of a node. Arithmetic with it adds nodes; a plain number takes part as
    float32, one of NumPy's as what it is."""
    __array_ufunc__ = None # NumPy's numbers leave the arithmetic to us
    def __init__(self, graph, name: str): self.graph, self.name = graph, name
    def __add__(self, other): return self.graph.Add(self, other)
    def __radd__(self, other): return self.graph.Add(other, self)
    def __sub__(self, other): return self.graph.Sub(self, other)
    def __rsub__(self, other): return self.graph.Sub(other, self)
    def __mul__(self, other): return self.graph.Mul(self, other)
    def __rmul__(self, other): return self.graph.Mul(other, self)
    def __truediv__(self, other): return self.graph.Div(self, other)
    def __rtruediv__(self, other): return self.graph.Div(other, self)
    def __ge__(self, other): return self.graph.GreaterOrEqual(self, other)


class Graph:
    "A graph that grows: `graph.Add(x, y)` adds a node of that operator and gives its output."
    counter = 0 # shared, so that the body of a loop can use names of the graph around it

    def __init__(self): self.nodes, self.constants = [], []

    def name(self) -> str:
        Graph.counter += 1
        return f"v{Graph.counter}"

    def constant(self, value) -> str: # a name
        array = np.asarray(value, np.float32 if type(value) in (float, int) else None)
        self.constants.append(numpy_helper.from_array(array, self.name()))
        return self.constants[-1].name

    def __getattr__(self, operator: str):
        def add(*inputs, **attributes) -> Value:
            names = [each.name if isinstance(each, Value) else self.constant(each)
                     for each in inputs]
            output = self.name()
            self.nodes.append(helper.make_node(operator, names, [output], **attributes))
            return Value(self, output)
        return add


def whole(*numbers: int) -> np.ndarray: return np.array(numbers, np.int64)


def default(function, name: str):
    "What a function of the package takes where its caller says nothing."
    return inspect.signature(function).parameters[name].default


def as_type(x: Value, kind: int) -> Value: return x.graph.Cast(x, to=kind)


def as_float(x: Value) -> Value: return as_type(x, TensorProto.FLOAT)


def side(x: Value, axis: int) -> Value: # int64, one number
    return x.graph.Gather(x.graph.Shape(x), whole(axis))


def until(stop: Value) -> Value: # int64: 0, 1, … below stop
    return stop.graph.Range(np.int64(0), stop.graph.Squeeze(stop), np.int64(1))


# H×W×C in, doubles out
def average(x: Value, axis: int, target: Value, kind: int = TensorProto.DOUBLE) -> Value:
    """Shrink one axis by averaging, as OpenCV's INTER_AREA: differences of running sums (of a
    kind of number), taken at fractions of pixels."""
    graph, length, double = x.graph, side(x, axis), TensorProto.DOUBLE
    before = whole(*[int(i == axis) for i in range(3)], 0, 0, 0)
    sums = graph.CumSum(as_type(graph.Pad(x, before), kind), np.int64(axis))
    ends = until(target + whole(1)) * length # of the new pixels, in parts of an old one
    left, shape = ends / target, whole(*[-1 if i == axis else 1 for i in range(3)])
    rest = as_type(graph.Mod(ends, target), double)
    part = graph.Reshape(rest / as_type(target, double), shape)
    here, there = (as_type(graph.Gather(sums, at, axis=axis), double)
                   for at in (left, graph.Min(left + whole(1), length)))
    at_ends = here + (there - here) * part
    upper, lower = (graph.Slice(at_ends, start, stop, whole(axis))
                    for start, stop in ((whole(1), target + whole(1)), (whole(0), target)))
    return (upper - lower) * (as_type(target, double) / as_type(length, double))


# H×W×C → float32 C×H×W
def shrink(x: Value, height: Value, width: Value, kind: int = TensorProto.DOUBLE) -> Value:
    "`_stretch` as far as it averages: no side comes out longer than it was."
    graph = x.graph
    lower = average(x, 0, graph.Min(height, side(x, 0)), kind)
    return graph.Transpose(as_float(average(lower, 1, graph.Min(width, side(x, 1)))),
                           perm=[2, 0, 1])


def grow(x: Value, height: Value, width: Value) -> Value: # float32 C×H×W
    "`_stretch` as far as it interpolates."
    graph = x.graph
    none = np.zeros(0, np.float32)
    sizes = graph.Concat(whole(1), side(x, 0), height, width, axis=0)
    grown = graph.Resize(graph.Unsqueeze(x, whole(0)), none, none, sizes, mode="linear",
                         coordinate_transformation_mode="half_pixel")
    return graph.Squeeze(grown, whole(0))


# values and weights int32, twice
def neighbours(x: Value, axis: int, target: Value) -> list[tuple[Value, Value]]:
    """For each new pixel of an axis the two old ones that it lies between, and how much each
    counts, in parts of 2048."""
    graph, length, double = x.graph, side(x, axis), TensorProto.DOUBLE
    half, numbers = np.float64(0.5), as_type(until(target), double)
    middles = (numbers + half) * (as_type(length, double) / as_type(target, double)) - half
    first = graph.Floor(as_float(middles))
    part, place = as_float(middles) - first, as_type(first, TensorProto.INT64)
    ends = lambda at: graph.Gather(x, graph.Max(whole(0), graph.Min(at, length - whole(1))),
                                   axis=axis)
    weight = lambda share: graph.Reshape(as_type(graph.Round(share * 2048), TensorProto.INT32),
                                         whole(*[-1 if i == axis else 1 for i in range(3)]))
    return [(ends(place), weight(1 - part)), (ends(place + whole(1)), weight(part))]


def grow_image(x: Value, height: Value, width: Value) -> Value: # float32 C×H×W, whole numbers
    """As `grow`, with the whole-number arithmetic that OpenCV uses for bytes: the network
    notices the last bit."""
    number = np.int32
    (left, much), (right, more) = neighbours(as_type(x, TensorProto.INT32), 2, width)
    (upper, its), (lower, other) = neighbours((left * much + right * more) / number(16), 1, height)
    return as_float((upper * its / number(65536) + lower * other / number(65536)
                     + number(2)) / number(4))


# uint8 H×W×C → float32 C×H×W, whole numbers
def shrink_image(x: Value, height: Value, width: Value) -> Value:
    """`resize_image` as far as it averages. Where both sides are halved, OpenCV rounds one half
    up, else to the even number."""
    graph, small = x.graph, shrink(x, height, width, TensorProto.INT32)
    halved = graph.And(*[graph.Equal(side(x, axis), target * whole(2))
                         for axis, target in ((0, height), (1, width))])
    return graph.Where(halved, graph.Floor(small + 0.5), graph.Round(small))


# uint8 H×W×C → float32 C×H×W, whole numbers
def stretch_image(x: Value, height: Value, width: Value) -> Value:
    "`resize_image`."
    return grow_image(shrink_image(x, height, width), height, width)


def stretch_probability(x: Value, height: Value, width: Value) -> Value: # float32 1×H×W
    "`resize_probability`."
    return grow(shrink(x.graph.Transpose(x, perm=[1, 2, 0]), height, width), height, width)


def shrunk(height: Value, width: Value, longest: int) -> tuple[Value, Value]: # int64
    "`_shrunk`."
    graph, double = height.graph, TensorProto.DOUBLE
    scale = graph.Min(np.float64(1),
                      np.float64(longest) / as_type(graph.Max(height, width), double))
    return tuple(graph.Max(whole(1),
                           as_type(graph.Round(as_type(each, double) * scale), TensorProto.INT64))
                 for each in (height, width))


def as_pixels(x: Value) -> Value: # float32 C×H×W, whole numbers → uint8 H×W×C
    return as_type(x.graph.Transpose(x, perm=[1, 2, 0]), TensorProto.UINT8)


def as_planes(x: Value) -> Value: # uint8 H×W×C → float32 C×H×W
    return as_float(x.graph.Transpose(x, perm=[2, 0, 1]))


def halved(x: Value, longest: int) -> Value: # float32 C×H×W, whole numbers
    "`_halved`."
    graph, body, number = x.graph, Graph(), Graph.counter
    too_long = lambda each: each.graph.Greater(each.graph.Max(side(each, 1), side(each, 2)),
                                               whole(longest))
    large = Value(body, f"large{number}")
    half = grow_image(large, *[(side(large, axis) + whole(1)) / whole(2) for axis in (1, 2)])
    more = body.Squeeze(too_long(half), whole(0))
    ends = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in
            ((f"halving{number}", TensorProto.INT64, []), (f"on{number}", TensorProto.BOOL, []),
             (large.name, TensorProto.FLOAT, None))]
    answers = [helper.make_tensor_value_info(more.name, TensorProto.BOOL, []),
               helper.make_tensor_value_info(half.name, TensorProto.FLOAT, None)]
    loop = helper.make_graph(body.nodes, "halve", ends, answers, body.constants)
    return graph.Loop(np.int64(64), graph.Squeeze(too_long(x), whole(0)), x, body=loop)


def mean(x: Value, radius: int) -> Value: # float32 C×H×W
    """`_mean`: the mean over a window, mirrored at the border. Differences of running sums,
    down the columns, then once more turned round."""
    graph, window = x.graph, 2 * radius + 1
    for _ in range(2):
        length = side(x, 1)
        place = graph.Mod(until(length + whole(window)) - whole(radius + 1), length * whole(2))
        mirrored = graph.Gather(x, graph.Min(place, length * whole(2) - whole(1) - place), axis=1)
        sums = graph.CumSum(as_type(mirrored, TensorProto.DOUBLE), np.int64(1))
        upper, lower = (graph.Slice(sums, whole(first), whole(end), whole(1))
                        for first, end in ((window, 2**31), (0, -window)))
        x = graph.Transpose(as_float(upper - lower) * (1 / window), perm=[0, 2, 1])
    return x


def highest(x: Value, window: int) -> Value: # float32 C×H×W
    "The maximum over a window; what lies outside does not count."
    pooled = x.graph.MaxPool(x.graph.Unsqueeze(x, whole(0)), kernel_shape=[window] * 2,
                             pads=[window // 2] * 4)
    return x.graph.Squeeze(pooled, whole(0))


# float32 1×H×W
def hysteresis_threshold(probability: Value, min_peak_probability: float) -> Value:
    "`hysteresis_threshold`: what is sure spreads within its region until it spreads no further."
    graph, visible = probability.graph, default(removal.hysteresis_threshold, "visible")
    region, seed = (as_float(probability >= least)
                    for least in (visible, max(min_peak_probability, visible)))
    body, going = Graph(), Graph.counter
    inside = Value(body, f"seed{going}")
    spread = body.Mul(highest(inside, 3), region)
    more = body.Greater(body.ReduceMax(spread - inside, keepdims=0), 0)
    ends = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in
            ((f"round{going}", TensorProto.INT64, []), (f"go{going}", TensorProto.BOOL, []),
             (inside.name, TensorProto.FLOAT, None))]
    answers = [helper.make_tensor_value_info(more.name, TensorProto.BOOL, []),
               helper.make_tensor_value_info(spread.name, TensorProto.FLOAT, None)]
    loop = helper.make_graph(body.nodes, "spread", ends, answers, body.constants)
    kept = graph.Loop(np.int64(2**31), np.array(True), seed, body=loop)
    return graph.Where(graph.Equal(kept, region), probability, np.float32(0))


def channel(x: Value, number: int) -> Value: # 1×H×W
    return x.graph.Slice(x, whole(number), whole(number + 1), whole(0))


def solve(spread: list, together: list) -> list:
    "`_solve`, the same elimination."
    for row in range(3):
        for below in range(row + 1, 3):
            share = spread[below][row] / spread[row][row]
            spread[below] = [value - share * above
                             for value, above in zip(spread[below], spread[row])]
            together[below] = together[below] - share * together[row]
    for row in (2, 1, 0):
        for right in range(row + 1, 3):
            together[row] = together[row] - spread[row][right] * together[right]
        together[row] = together[row] / spread[row][row]
    return together


# three slopes, offset
def fit_lines(planes: list, probability: Value, radius: int, epsilon: float) -> tuple[list, Value]:
    "`fit_lines`."
    means, level = [mean(plane, radius) for plane in planes], mean(probability, radius)
    spread = [[mean(planes[i] * planes[j], radius) - means[i] * means[j]
               + (epsilon if i == j else 0) for j in range(3)] for i in range(3)]
    together = [mean(plane * probability, radius) - one * level
                for plane, one in zip(planes, means)]
    slope = solve(spread, together)
    return slope, level - (slope[0] * means[0] + slope[1] * means[1] + slope[2] * means[2])


# float32 1×H×W
def refine(probability: Value, pixels: Value, colours: list, height: Value, width: Value) -> Value:
    "`refine`, on pixels uint8 H×W×3, which `colours` holds as three planes too."
    graph, size = probability.graph, shrunk(height, width, 512)
    small = stretch_image(as_pixels(halved(as_planes(pixels), 1024)), *size) / 255
    radius, epsilon = (default(removal.guided_filter, name) for name in ("radius", "epsilon"))
    coarse = stretch_probability(probability, *size)
    slope, offset = fit_lines([channel(small, i) for i in range(3)], coarse, radius, epsilon)
    pulled = grow(mean(offset, radius), height, width)
    for one, colour in zip(slope, colours):
        pulled = pulled + grow(mean(one, radius), height, width) * colour * (1 / 255)
    unsure = 4 * coarse * (1 - coarse)
    step = highest(coarse, 9) + highest(0 - coarse, 9)
    room = unsure * graph.Min(4 * (1 - step), 1)
    for limit, furthest in ((graph.Max, coarse - room), (graph.Min, coarse + room)):
        bound = stretch_probability(graph.Clip(furthest, 0, 1), height, width)
        pulled = limit(pulled, bound)
    return pulled


# float32 1×H×W, whole numbers; all 0 where nobody is found
def alpha_from(probability: Value, threshold: float) -> Value:
    "`alpha_from`, and the question whether anybody is there."
    graph = probability.graph
    band = max(1e-6, min(default(removal.alpha_from, "band"), threshold, 1 - threshold))
    alpha = graph.Clip(graph.Round((probability - threshold) * (127.5 / band) + 127.5), 0, 255)
    return alpha * as_float(graph.ReduceMax(probability, keepdims=0) >= threshold)


def unmix(mixed: Value, share: Value, person: Value, background: Value) -> Value:
    "`_unmix`."
    unexplained = mixed - share * person - (1 - share) * background
    return mixed.graph.Clip(person + share * unexplained, 0, 255)


# three planes 1×H×W
def estimate_foreground(pixels: Value, colours: list, alpha: Value, height: Value,
                        width: Value) -> list:
    "`estimate_foreground`."
    graph, mixed, share = alpha.graph, halved(as_planes(pixels), 1024), halved(alpha, 1024) / 255
    rest, person, background = 1 - share, mixed, mixed
    def mean_colour(colour, weight, radius):
        return mean(colour * weight, radius) / graph.Max(mean(weight, radius), 1e-9)
    for radius in (20, 3, 1):
        near, far = (mean_colour(person, share * share, radius),
                     mean_colour(background, rest * rest, radius))
        person, background = unmix(mixed, share, near, far), unmix(mixed, rest, far, near)
    found = []
    for i, colour in enumerate(colours):
        sides = [graph.Round(grow(graph.Round(channel(each, i)), height, width))
                 for each in (near, far)]
        soft = graph.Round(unmix(colour, alpha / 255, *sides))
        found.append(graph.Where(alpha >= 255, colour,
                                 graph.Where(alpha >= 1, soft, np.float32(0))))
    return found


# side, how many, where they begin (float64)
def tiles(height: Value, width: Value) -> tuple[Value, Value, Value]:
    "`_tiles`, along the longer side; a photo that is not long is one tile."
    graph, double = height.graph, TensorProto.DOUBLE
    short, long = graph.Min(height, width), graph.Max(height, width)
    length = graph.Max(short, (long + whole(15)) / whole(16))
    length = graph.Where(graph.Greater(long, short * whole(2)), length, long)
    count = ((long - length) * whole(2) + length - whole(1)) / length + whole(1)
    step = as_type(long - length, double) / as_type(graph.Max(count - whole(1), whole(1)), double)
    return length, count, graph.Round(as_type(until(count), double) * step)


def look_size(height: Value, width: Value, area: int) -> tuple[Value, Value]:
    "`look_size` of a network that keeps a photo's shape."
    graph, double = height.graph, TensorProto.DOUBLE
    ratio = as_type(height, double) / as_type(width, double)
    root = graph.Sqrt(graph.Clip(ratio, np.float64(0.5), np.float64(2)))
    cells = (graph.Round(each) for each in (root * np.float64(area**0.5 / 32),
                                            np.float64(area**0.5 / 32) / root))
    return tuple(graph.Max(as_type(each, TensorProto.INT64), whole(1)) * whole(32)
                 for each in cells)


# float32 height×width
def answer(graph: Graph, pixels: Value, network: onnx.ModelProto, area: int) -> Value:
    "`Network.answer`: the network itself, between its input and its output."
    small = stretch_image(pixels, *look_size(side(pixels, 0), side(pixels, 1), area))
    seen = graph.Unsqueeze(graph.Transpose(small, perm=[1, 2, 0]), whole(0))
    inner = onnx.compose.add_prefix_graph(network.graph, "network/")
    graph.nodes += [helper.make_node("Identity", [seen.name], [inner.input[0].name]), *inner.node]
    graph.constants += inner.initializer
    return graph.Squeeze(Value(graph, inner.output[0].name), whole(0, 3))


# float32 tiles×rows×columns
def answers(photo: Value, length: Value, count: Value, starts: Value, lies: Value,
            network: onnx.ModelProto, area: int) -> Value:
    "The network's answers to the tiles of a photo, one after another."
    body, number = Graph(), Graph.counter
    tile = Value(body, f"tile{number}")
    pixels, length, starts, lies = (Value(body, each.name)
                                    for each in (photo, length, starts, lies))
    start = as_type(body.Unsqueeze(body.Gather(starts, tile), whole(0)), TensorProto.INT64)
    first = body.Concat(start, whole(0), axis=0)
    last = body.Concat(start + length, body.Min(side(pixels, 0), side(pixels, 1)), axis=0)
    first, last = (body.Where(lies, body.Gather(ends, whole(1, 0)), ends) for ends in (first, last))
    part = answer(body, body.Slice(pixels, first, last, whole(0, 1)), network, area)
    more = body.Identity(Value(body, f"go{number}"))
    ends = [(tile.name, TensorProto.INT64), (f"go{number}", TensorProto.BOOL),
            (more.name, TensorProto.BOOL), (part.name, TensorProto.FLOAT)]
    ends = [helper.make_tensor_value_info(name, kind, [] if kind != TensorProto.FLOAT else None)
            for name, kind in ends]
    loop = helper.make_graph(body.nodes, "look", ends[:2], ends[2:], body.constants)
    return photo.graph.Loop(photo.graph.Squeeze(count), np.array(True), body=loop)


def either(condition: Value, then, otherwise) -> Value: # functions that make a value in a graph
    "One of two values; only that one is computed."
    branches = []
    for make in (then, otherwise):
        branch = Graph()
        end = helper.make_tensor_value_info(make(branch).name, TensorProto.FLOAT, None)
        branches.append(helper.make_graph(branch.nodes, "branch", [], [end], branch.constants))
    return condition.graph.If(condition, then_branch=branches[0], else_branch=branches[1])


def joined(parts: Value, places: Value, rows: Value) -> Value: # float32 rows×columns
    """Answers to tiles as one: where two overlap, the one whose middle is nearer counts more.
    One after another: ScatterND adds in several threads at once, and loses some."""
    graph, body, number = parts.graph, Graph(), Graph.counter
    edge, columns = side(parts, 1), side(parts, 2)
    row = until(edge)
    nearer = graph.Min(row, edge - whole(1) - row) + whole(1)
    weight = graph.Unsqueeze(as_float(nearer), whole(1))
    names = [f"{name}{number}" for name in ("tile", "go", "sum")]
    tile, go, sums = (Value(body, name) for name in names)
    part, place, below, weight = (Value(body, each.name)
                                  for each in (parts, places, rows - edge, weight))
    weighted = body.Gather(part, tile) * weight
    with_weights = body.Concat(weighted, weight, axis=1) # in the last column
    place = body.Unsqueeze(body.Gather(place, tile), whole(0))
    around = body.Concat(place, whole(0), below - place, whole(0), axis=0)
    ends = [*names, body.Identity(go).name, (sums + body.Pad(with_weights, around)).name]
    kinds = [TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT]
    ends = [helper.make_tensor_value_info(name, kind, None if kind == TensorProto.FLOAT else [])
            for name, kind in zip(ends, kinds + kinds[1:])]
    loop = helper.make_graph(body.nodes, "join", ends[:3], ends[3:], body.constants)
    nothing = graph.Expand(np.float32(0), graph.Concat(rows, columns + whole(1), axis=0))
    sums = graph.Loop(graph.Squeeze(graph.Shape(places)), np.array(True), nothing, body=loop)
    weighted = graph.Slice(sums, whole(0), columns, whole(1))
    return weighted / graph.Slice(sums, columns, columns + whole(1), whole(1))


def answer_in_tiles(photo: Value, network: onnx.ModelProto, area: int) -> Value: # float32 1×h×w
    "What `Remover` asks the network: about a photo, or as `answer_long` about parts of a long one."
    graph, double = photo.graph, TensorProto.DOUBLE
    height, width = side(photo, 0), side(photo, 1)
    lies, (length, count, starts) = graph.Greater(width, height), tiles(height, width)
    parts = answers(photo, length, count, starts, lies, network, area)
    edge = graph.Where(lies, side(parts, 2), side(parts, 1)) # of an answer, along the longer side
    scale = as_type(edge, double) / as_type(length, double)
    in_answer = lambda pixels: as_type(graph.Round(pixels * scale), TensorProto.INT64)
    rows = in_answer(as_type(graph.Max(height, width), double))
    places = graph.Min(in_answer(starts), rows - edge)

    def turned_where_it_lies(branch, value, *axes): # a transpose
        turn = lambda inside: inside.Transpose(Value(inside, value.name), perm=axes)
        same = lambda inside: inside.Identity(Value(inside, value.name))
        return either(Value(branch, branch.Squeeze(Value(branch, lies.name)).name), turn, same)

    def together(branch): # rows lie along the longer side
        upright = turned_where_it_lies(branch, parts, 0, 2, 1)
        return turned_where_it_lies(branch, joined(upright, Value(branch, places.name),
                                                   Value(branch, rows.name)), 1, 0)
    alone = lambda branch: branch.Squeeze(Value(branch, parts.name), whole(0))
    is_long = graph.Squeeze(graph.Greater(count, whole(1)))
    return graph.Unsqueeze(either(is_long, together, alone), whole(0))


def page_model(path: Path) -> onnx.ModelProto:
    """The graph from a photo, uint8 H×W×4 as a browser's canvas gives it, to the cut-out, uint8
    H×W×4."""
    network, description = onnx.load(path), removal.open_model(path)[1]
    graph = Graph()
    photo = Value(graph, "photo")
    pixels = graph.Slice(photo, whole(0), whole(3), whole(2))
    height, width = side(pixels, 0), side(pixels, 1)
    colours = [as_float(graph.Unsqueeze(graph.Gather(pixels, np.int64(i), axis=2), whole(0)))
               for i in range(3)]
    area = int(np.prod(description["image_size"]))
    probability = hysteresis_threshold(answer_in_tiles(pixels, network, area),
                                       description.get("min_peak_probability", 0.0))
    alpha = alpha_from(refine(probability, pixels, colours, height, width),
                       description["threshold"])
    planes = [*estimate_foreground(pixels, colours, alpha, height, width), alpha]
    planes = [as_type(plane, TensorProto.UINT8) for plane in planes]
    cutout = graph.Transpose(graph.Concat(*planes, axis=0), perm=[1, 2, 0])
    graph.nodes.append(helper.make_node("Identity", [cutout.name], ["cutout"]))
    ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, ["height", "width", 4])
            for name in ("photo", "cutout")]
    whole_graph = helper.make_graph(graph.nodes, "cutout", ends[:1], ends[1:], graph.constants)
    return helper.make_model(whole_graph, opset_imports=network.opset_import,
                             ir_version=network.ir_version)


if __name__ == "__main__":
    onnx.save(page_model(shipped_model()), sys.argv[1])
