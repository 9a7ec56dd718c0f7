"""A graph that grows a node at a time, each run by onnxruntime on probes before it stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array: TypeAlias = np.ndarray[Any, Any]
# Two sizes of the batch tell which axis of a value follows it.
PROBES = (3, 2)
# A value may be this large: what follows has to stay a test of an export.
LARGEST, LEAST = 1e3, 1e-3
CONTRIB = "com.microsoft"


@dataclass(slots=True, kw_only=True)
class Builder:
    """What there is of a graph so far.

    Attributes:
        values: of every name on each probe.
        follows: the axis of a value that has the size of the batch; None where none has.
        open: results that nothing reads yet.
    """

    chance: np.random.Generator
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    sparse: list[onnx.SparseTensorProto] = field(default_factory=list)
    overridable: list[str] = field(default_factory=list)
    values: dict[str, tuple[Array, ...]] = field(default_factory=dict)
    follows: dict[str, int | None] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)
    weights: list[tuple[str, Array]] = field(default_factory=list)
    count: int = 0

    def name(self, stem: str = "v") -> str:
        """A name that no value has."""
        self.count += 1
        return f"{stem}_{self.count}"

    def pick(self, *options: Any) -> Any:
        """One of them."""
        return options[int(self.chance.integers(len(options)))]

    def maybe(self, share: float = 0.5) -> bool:
        """True that often."""
        return bool(self.chance.random() < share)

    def normal(self, *shape: int) -> Array:
        """Normal numbers in float32."""
        return np.asarray(self.chance.normal(size=shape), np.float32)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a value on the first probe."""
        return tuple(self.values[name][0].shape)

    def rank(self, name: str) -> int:
        """Of a value."""
        return len(self.shape(name))

    def axis(self, name: str, *, batch: bool = False) -> int:
        """Any axis of a value; but for its batch, unless asked for."""
        return int(self.pick(*[i for i in range(self.rank(name)) if batch or i != self.follows[name]] or [0]))

    def is_float(self, name: str) -> bool:
        """In float32."""
        return self.values[name][0].dtype == np.float32

    def input(self, name: str, arrays: tuple[Array, ...], follows: int | None) -> str:
        """An input of the graph, with its value on each probe."""
        self.values[name], self.follows[name] = arrays, follows
        self.open.append(name)
        return name

    def constant(self, array: Any, stem: str = "c") -> str:
        """An initializer, as it is."""
        name, array = self.name(stem), np.asarray(array)
        self.initializers.append(numpy_helper.from_array(array, name))
        return self.known(name, array)

    def known(self, name: str, array: Array) -> str:
        """A value that is the same on every probe."""
        self.values[name], self.follows[name] = (array,) * len(PROBES), None
        return name

    def ints(self, *numbers: int) -> str:
        """A list of whole numbers, as an initializer."""
        return self.constant(np.asarray(numbers, np.int64), "ints")

    def add(self, operator: str, inputs: Sequence[str], results: int | Sequence[str] = 1, domain: str = "",
            **attributes: Any) -> list[str]:  # fmt: skip
        """The results of a new node; an empty list where it does not stay.

        Args:
            results: how many there are, or what each is called, "" for one that is left out.
        """
        names = [self.name(operator.lower()) for _ in range(results)] if isinstance(results, int) else list(results)
        given = {key: value for key, value in attributes.items() if value is not None}
        title = f"{operator}_{self.count}" if self.maybe(0.8) else ""
        return self.join([helper.make_node(operator, list(inputs), names, title, domain=domain, **given)], names)

    def one(self, operator: str, inputs: Sequence[str], domain: str = "", **attributes: Any) -> str | None:
        """The first result of a new node."""
        return next(iter(self.add(operator, inputs, domain=domain, **attributes)), None)

    def join(self, nodes: list[onnx.NodeProto], results: Sequence[str]) -> list[str]:
        """Several new nodes together, of which these results are seen from outside."""
        wanted = [name for name in results if name]
        try:
            found = [self._ran(nodes, wanted, index) for index in range(len(PROBES))]
        except Exception:  # whatever onnxruntime says of it: then it is no node of ours
            return []
        every = [tuple(of[i] for of in found) for i in range(len(wanted))]
        if not all(_is_sound(arrays) for arrays in every):
            return []
        self.nodes += nodes
        for name, arrays in zip(wanted, every, strict=True):
            self.values[name], self.follows[name] = arrays, _follows(arrays)
        read = {name for node in nodes for name in node.input}
        self.open = [name for name in self.open if name not in read] + wanted
        return wanted

    def _ran(self, nodes: list[onnx.NodeProto], results: list[str], probe: int) -> list[Array]:
        feed = {name: self.values[name][probe] for name in _read(nodes) if name in self.values}
        graph = helper.make_graph(
            nodes, "probe", [_info(name, array) for name, array in feed.items()],
            [helper.make_empty_tensor_value_info(name) for name in results],
        )  # fmt: skip
        return run(helper.make_model(graph, opset_imports=imports(self.opset), ir_version=10), feed, results)


def imports(opset: int) -> list[onnx.OperatorSetIdProto]:
    """Of ONNX and of onnxruntime's own operators."""
    return [helper.make_opsetid("", opset), helper.make_opsetid(CONTRIB, 1)]


def run(model: onnx.ModelProto, feed: dict[str, Array], results: Sequence[str] | None = None) -> list[Array]:
    """What onnxruntime makes of it without optimization."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[Array] = [np.asarray(array) for array in session.run(results, feed)]
    return found


def _read(nodes: list[onnx.NodeProto]) -> list[str]:
    """What they read of the graph around them, in bodies too."""
    found: dict[str, None] = {}
    for node in nodes:
        found |= dict.fromkeys(name for name in node.input if name)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= dict.fromkeys(_read(list(attribute.g.node)))
    return list(found)


def _info(name: str, array: Array) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def _is_sound(arrays: Sequence[Array]) -> bool:
    """Not empty, finite and of a usual size, and of one rank and type, with one axis at most that follows the batch."""
    first, second = arrays
    if not first.size or first.size > 40_000 or first.ndim != second.ndim or first.dtype.kind not in "fiub":
        return False
    if sum(a != b for a, b in zip(first.shape, second.shape, strict=True)) > 1:
        return False
    if first.dtype.kind != "f":
        return True
    wide = first.astype(np.float64)
    return bool(np.isfinite(wide).all() and LEAST < np.abs(wide).max() < LARGEST)


def _follows(arrays: Sequence[Array]) -> int | None:
    first, second = arrays
    return next((i for i, (a, b) in enumerate(zip(first.shape, second.shape, strict=True)) if a != b), None)


def element(array: Array) -> int:
    """The number that ONNX has for an array's type."""
    return int(helper.np_dtype_to_tensor_dtype(array.dtype))


FLOAT = TensorProto.FLOAT
