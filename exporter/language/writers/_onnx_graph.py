"""An ONNX graph as it is written: nodes are kept, weights go to the file beside it as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ....backends.base import TensorSpec

if TYPE_CHECKING:
    import onnx

MICROSOFT = "com.microsoft"
# Of the first byte of a tensor in the file: a cache line, so that no kernel reads across one more than it must.
_ALIGNMENT = 64
_IR_VERSION = 10


class GraphFile:
    """`model.onnx` and `model.onnx.data` in a directory; a context manager that closes the latter.

    Args:
        opset: of the standard operators.
        domains: further domains, each in its version 1.
    """

    def __init__(self, directory: Path, opset: int, domains: Sequence[str] = (MICROSOFT,)) -> None:
        self.path = directory / "model.onnx"
        self._opsets = {"": opset, **dict.fromkeys(domains, 1)}
        self._data = (directory / "model.onnx.data").open("wb")
        self._first: list[onnx.NodeProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: dict[str, onnx.TensorProto] = {}
        self._asked: list[onnx.ValueInfoProto] = []
        self._names: Counter[str] = Counter()

    def __enter__(self) -> GraphFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._data.close()

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        *,
        name: str = "",
        outputs: Sequence[str] | None = None,
        domain: str = "",
        first: bool = False,
        **attributes: Any,
    ) -> str:
        """Add a node and return its first output.

        Args:
            name: of the node and, unless `outputs` says otherwise, of its one output; by default after the operator.
            first: ahead of all others, whose inputs it makes of tensors of the file.
        """
        from onnx import helper

        name = self.free(name or operator)
        outputs = [name] if outputs is None else outputs
        node = helper.make_node(operator, inputs, outputs, name=name, domain=domain, **attributes)
        (self._first if first else self._nodes).append(node)
        return outputs[0]

    def free(self, name: str) -> str:
        """The name, with a number behind it from the second time on."""
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}_{self._names[name]}"

    def has(self, operator: str) -> bool:
        """Whether there is such a node."""
        return any(node.op_type == operator for node in self._nodes)

    def call(self, value: str, name: str) -> None:
        """Give a value that no node reads the name by which it leaves the graph."""
        for node in reversed(self._nodes):
            if value in node.output:
                node.output[list(node.output).index(value)] = name
                return

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """A few numbers, which stay in the graph itself; those of the same name are the same."""
        from onnx import numpy_helper

        if name not in self._tensors:
            self._tensors[name] = numpy_helper.from_array(value, name)
        return name

    def asked(self, name: str, default: npt.NDArray[Any], axes: Sequence[str | int]) -> str:
        """An input of the graph that has a value where none is given; `axes` are its sizes or their names."""
        self._asked.append(_value(TensorSpec(name=name, dtype=str(default.dtype), shape=tuple(axes))))
        return self.constant(name, default)

    def number(self, value: float) -> str:
        """A float32 scalar of the graph."""
        return self.constant(f"float_{value!r}", np.asarray(value, dtype=np.float32))

    def integer(self, value: int) -> str:
        """An int64 scalar of the graph."""
        return self.constant(f"integer_{value}", np.asarray(value, dtype=np.int64))

    def integers(self, values: Sequence[int]) -> str:
        """A row of int64 of the graph."""
        name = "integers_" + "_".join(str(value) for value in values)
        return self.constant(name, np.asarray(values, dtype=np.int64))

    def stored(
        self, name: str, array: npt.NDArray[Any], *, kind: int | None = None, shape: Sequence[int] | None = None
    ) -> str:
        """A tensor of the file of weights.

        Args:
            kind, shape: ONNX's number of its type, and its shape, where the array holds the bytes of another type.
        """
        from onnx import helper

        kind = helper.np_dtype_to_tensor_dtype(array.dtype) if kind is None else kind
        self._data.write(b"\0" * (-self._data.tell() % _ALIGNMENT))
        offset = self._data.tell()
        self._data.write(np.ascontiguousarray(array).data.cast("B"))
        return self._external(name, kind, array.shape if shape is None else shape, offset, array.nbytes)

    def again(self, name: str, stored: str, shape: Sequence[int]) -> str:
        """The same bytes of the file in another shape, under another name or instead of what they were."""
        tensor = self._tensors[stored]
        entries = {entry.key: int(entry.value) for entry in tensor.external_data if entry.key != "location"}
        return self._external(name, tensor.data_type, shape, entries["offset"], entries["length"])

    def save(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        """Write `model.onnx`."""
        import onnx
        from onnx import helper

        given = [*(_value(spec) for spec in inputs), *self._asked]
        nodes, tensors = [*self._first, *self._nodes], [*self._tensors.values()]
        graph = helper.make_graph(nodes, "decoder", given, [_value(spec) for spec in outputs], tensors)
        opsets = [helper.make_opsetid(domain, version) for domain, version in self._opsets.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="edgepress")
        onnx.save(model, self.path)

    def _external(self, name: str, kind: int, shape: Sequence[int], offset: int, length: int) -> str:
        import onnx

        tensor = onnx.TensorProto(name=name, data_type=kind, dims=shape, data_location=onnx.TensorProto.EXTERNAL)
        where = {"location": Path(self._data.name).name, "offset": str(offset), "length": str(length)}
        for key, value in where.items():
            tensor.external_data.add(key=key, value=value)
        self._tensors[name] = tensor
        return name


def _value(spec: TensorSpec) -> onnx.ValueInfoProto:
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
    return helper.make_tensor_value_info(spec.name, kind, spec.shape)
