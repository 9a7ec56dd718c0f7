"""A seed as an ONNX file with data for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from . import oddities
from .builder import FLOAT, PROBES, Array, Builder, element, imports, run
from .layers import LAYERS, conv, gemm, matmul, recurrent, table
from .operators import OPERATORS
from .rarer import RARER

# Gives so many samples of an input.
Draw = Callable[[np.random.Generator, int], Array]
# The last opset that is asked for; and what each input may be, with the axis of the batch.
NEWEST, OLDEST = 23, 7
# Seeds below make what they made before there were rarer operators, as records name them.
RARER_FROM = 4000
CALIBRATION = 128
Operator = Callable[[Builder, str], "str | None"]
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What an input is fed with: `draw` gives samples along the axis `batch`."""

    draw: Draw
    batch: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A model, and what it is fed with.

    Attributes:
        model: valid, and run by onnxruntime.
        free: whether its batch is free; else it is `size`.
        odd: what is unusual about the file, by name.
    """

    seed: int
    model: onnx.ModelProto
    inputs: Mapping[str, Input]
    free: bool
    size: int
    odd: tuple[str, ...]

    def feed(self, seed: int, samples: int) -> dict[str, Array]:
        """A batch of data."""
        chance = np.random.default_rng([self.seed, seed])
        return {name: given.draw(chance, samples) for name, given in self.inputs.items()}

    def answer(self, feed: dict[str, Array]) -> dict[str, Array]:
        """What onnxruntime makes of it without optimization."""
        names = [value.name for value in self.model.graph.output]
        return dict(zip(names, run(self.model, feed), strict=True))


def make(seed: int) -> Made:
    """The model of a seed: the same seed gives the same bytes."""
    for attempt in range(100):
        made = _tried(seed, np.random.default_rng([seed, attempt]))
        if made is not None:
            return made
    raise RuntimeError(f"seed {seed} makes no valid model")


def _tried(seed: int, chance: np.random.Generator) -> Made | None:
    b = Builder(chance=chance, opset=int(chance.integers(OLDEST, NEWEST + 1)))
    given = _inputs(b)
    x = _grown(b, next(iter(given)), OPERATORS if seed < RARER_FROM else (*OPERATORS, *RARER))
    if x is None or b.follows[x] is None:
        return None
    model, free, size = _finished(b, x, given)
    model, names, odd = oddities.applied(model, chance, {name: b.values[name] for name in given})
    made = Made(seed=seed, model=model, inputs={names[n]: of for n, of in given.items()}, free=free, size=size, odd=odd)
    return made if _holds(made, 2 * size if free else size) else None


def _inputs(b: Builder) -> dict[str, Input]:
    """One that the network begins with, perhaps another beside it."""
    name = b.pick("x", "input", "file", "image:0", "a b", "in/put", "höhe", "x_scale", "data.1", "self", "0")
    kind = b.pick("image", "image", "sequence", "sequence", "flat", "signal", "volume", "time first", "tokens", "bytes")
    c = int(b.pick(2, 3, 4, 6))
    shape = {
        "image": (c, *(int(b.pick(6, 8, 9)) for _ in range(2))), "sequence": (int(b.pick(4, 7)), int(b.pick(4, 6, 8))),
        "flat": (int(b.pick(6, 9, 16)),), "signal": (c, int(b.pick(9, 16))), "volume": (2, 4, 5, 4),
        "time first": (int(b.pick(4, 6)), 5), "tokens": (6,), "bytes": (3, 6, 6),
    }[kind]  # fmt: skip
    types = {"tokens": b.pick(np.int64, np.int32), "bytes": np.uint8}
    found = {name: _input(b, kind, shape, types.get(kind, b.pick(*[np.float32] * 8, np.float16, np.float64)))}
    if b.maybe(0.25):
        second = b.pick("mask", "other", "file", "x_zero_point", "y:1")
        found.setdefault(second, _input(b, kind, shape, b.pick(np.float32, np.float32, np.bool_, np.int8)))
    for title, one in found.items():
        probes = tuple(one.draw(np.random.default_rng(size), size) for size in PROBES)
        b.input(title, probes, one.batch)
    return found


def _input(b: Builder, kind: str, shape: tuple[int, ...], dtype: object) -> Input:
    """How samples are drawn: normal numbers around an offset, or whole ones."""
    batch = 1 if kind == "time first" else 0
    offset, spread = float(b.pick(0, 0, 0.5, 2)), float(b.pick(1, 1, 0.3, 4))
    kind_of = np.dtype(dtype)  # type: ignore[call-overload]

    def draw(chance: np.random.Generator, samples: int) -> Array:
        sizes = (samples, *shape) if batch == 0 else (shape[0], samples, *shape[1:])
        if kind_of.kind == "b":
            return chance.random(sizes) < 0.7
        if kind_of.kind in "iu":
            return chance.integers(0, 12 if kind == "tokens" else 100, sizes).astype(kind_of)
        return (chance.normal(size=sizes) * spread + offset).astype(kind_of)

    return Input(draw=draw, batch=batch)


def _grown(b: Builder, x: str, operators: tuple[Operator, ...]) -> str | None:
    """The last value of a chain of operators, these and layers, from an input on."""
    at: str | None = _as_float(b, x)
    if b.values[x][0].dtype.kind in "iu" and b.maybe(0.7) and b.values[x][0].dtype != np.uint8:
        at = table(b, x) or at
    wanted = int(b.pick(3, 5, 7, 9))
    for step in range(40):
        if at is None or (step >= wanted and any(node.op_type in _PRODUCTS for node in b.nodes)):
            break
        for other in [name for name in b.open if name != at and not b.is_float(name)][:1]:
            at = _mixed(b, at, other)
        ways = LAYERS if b.maybe(0.45) else operators
        if step >= wanted:
            ways = (conv, gemm, matmul, recurrent)
        made = b.pick(*ways)(b, at)
        if made and b.is_float(made) and b.follows[made] is not None and b.rank(made) < 6:
            at = _tamed(b, made)
    return at


def _as_float(b: Builder, x: str) -> str | None:
    return x if b.is_float(x) else b.one("Cast", [x], to=FLOAT)


def _mixed(b: Builder, x: str, other: str) -> str:
    """A second input of another type scales the value where their shapes allow it."""
    b.open.remove(other)
    number = _as_float(b, other)
    return (number and b.shape(number) == b.shape(x) and b.one("Mul", [x, number])) or x


def _tamed(b: Builder, x: str) -> str:
    """Brought back to about 1 where it has left that far, as a trained network would have it."""
    spread = float(np.std(b.values[x][0].astype(np.float64)))
    if 0.05 < spread < 20:
        return x
    return b.one("Mul", [x, b.constant(np.float32(1 / max(spread, 1e-2)))]) or x


def _finished(b: Builder, x: str, given: Mapping[str, Input]) -> tuple[onnx.ModelProto, bool, int]:
    """The model with its outputs, and whether the batch is free."""
    outputs = [x]
    more = [n for n in b.values if b.follows[n] is not None and n not in given and n != x and b.values[n][0].size > 3]
    if more and b.maybe(0.3):
        outputs.insert(int(b.pick(0, 1)), str(b.pick(*more)))
    if b.maybe(0.15) and (best := b.one("ArgMax", [x], axis=b.axis(x))) and b.follows[best] is not None:
        outputs.append(best)
    free, size = b.maybe(0.8), int(b.pick(1, 2, 4))
    if not free and any(b.values[name][0].dtype.kind == "u" for name in given):
        size = 1
    label = b.pick("batch", "batch", "N", "unk__0", "-1", "?", "")
    infos = [_info(b, name, free, size, label) for name in given]
    results = [_info(b, name, free, size, label) for name in outputs]
    listed = [_info(b, name, False, 0, "", constant=True) for name in b.overridable]
    nodes = b.nodes if b.maybe(0.3) else _living(b.nodes, outputs)
    graph = helper.make_graph(nodes, b.pick("net", "", "main graph"), infos + listed, results, b.initializers)
    return helper.make_model(graph, opset_imports=imports(b.opset), ir_version=10), free, size


def _info(b: Builder, name: str, free: bool, size: int, label: str, *, constant: bool = False) -> onnx.ValueInfoProto:
    array, at = b.values[name][0], b.follows[name]
    shape: list[int | str | None] = list(array.shape)
    if at is not None and not constant:
        factor = array.shape[at] / PROBES[0]
        shape[at] = (label or None) if factor == 1 else None if free else int(size * factor)
        if not free and factor == 1:
            shape[at] = size
        if shape[at] == "-1":
            shape[at] = -1
    return helper.make_tensor_value_info(name, element(array), shape)


def _living(nodes: list[onnx.NodeProto], outputs: list[str]) -> list[onnx.NodeProto]:
    """Those that an output hangs on."""
    from .builder import _read

    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(_read([node]))
    return kept[::-1]


def _holds(made: Made, samples: int) -> bool:
    """The checker takes it, and onnxruntime runs it, with an output that depends on the data."""
    try:
        onnx.checker.check_model(made.model)
        one, two = (made.answer(made.feed(seed, samples)) for seed in (1, 2))
    except Exception:  # whatever either says
        return False
    finite = all(np.isfinite(array.astype(np.float64)).all() for array in one.values() if array.dtype.kind == "f")
    return finite and all(array.size and np.any(array != two[name]) for name, array in one.items())
