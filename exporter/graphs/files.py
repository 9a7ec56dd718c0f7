"""ONNX files on disk: read with suspicion, written whole."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...backends.base import AxisRange, Graph, TensorSpec
from ...calibration.sample_axes import declared
from ...errors import InputError
from ...profiles.machine.held import temporary
from ...profiles.reading.names import need_text
from ...profiles.reading.opened import LINE, opened
from .damage import damage_explained, no_text
from .dense import make_dense
from .mends import MENDS
from .names import tell_values_apart
from .order import in_order
from .quiet import quiet

if TYPE_CHECKING:
    import onnx_ir as ir

# A protobuf message ends at 2 GiB, and larger ones are not parsed.
MESSAGE = (1 << 31) - 1
# Above this, weights go into a file beside the model.
EMBEDDED_LIMIT = 1_800_000_000
# What a tensor says of its data in another file; onnxruntime adds `prepacked_...`.
_KEYS = ("location", "offset", "length", "checksum", "basepath")
# The limit that puts all weights there, which takes the least time: for a file that is run once and not shipped.
BESIDE = 0
_NAMELESS = frozenset({"none", "unk", "unknown", "nan"})


def read_graph(path: Path, axes: Mapping[str, AxisRange] | None = None) -> Graph:
    """Validate an ONNX file and say what it takes and gives.

    Args:
        axes: ranges of its free axes, carried along.

    Raises:
        InputError: no such file, not a complete ONNX model, or external data that are missing, too short or outside
            its directory.
    """
    proto = _parsed(path)
    with damage_explained(path):
        external = _external_files(proto, path)
        mended = _check(path)
        if mended is not None:
            _take_outputs(proto, mended)
        inputs, outputs = _specs(proto, path)
        opset = _opset(proto, path)
    digest = _digest(path, *external)
    return Graph(
        path=path,
        inputs=inputs,
        outputs=outputs,
        opset=opset,
        digest=digest,
        axes=dict(axes or {}),
        samples=declared(inputs, outputs),
    )


def read_model(path: Path) -> ir.Model:
    """The file's model in memory, its nodes in order, its weights read when they are asked for.

    Raises:
        InputError: the file is damaged.
    """
    import onnx_ir as ir

    # What it logs of values that nothing makes is one message of `read_graph`.
    with damage_explained(path), quiet(ir.serde.__name__):
        model = _loaded(path)
        if not in_order(model.graph):
            model.graph.sort()
        return model


def _loaded(path: Path) -> ir.Model:
    """As `onnx_ir.load`, which passes over sparse weights."""
    import onnx
    import onnx_ir as ir

    proto = onnx.load(path, load_external_data=False)
    make_dense(proto, path.parent)
    model = ir.serde.deserialize_model(proto)
    ir.external_data.set_base_dir(model.graph, path.parent)
    return model


def read_whole(path: Path) -> ir.Model:
    """The file's model with the weights that are embedded in it as arrays, which clones of it share.

    Raises:
        InputError: the file is damaged.
    """
    import onnx_ir as ir

    model = read_model(path)
    with damage_explained(path):
        for value in (value for graph in model.graphs() for value in graph.initializers.values()):
            tensor = value.const_value
            # Left in the file's message, it would be copied out of there whenever somebody asks for the array.
            if isinstance(tensor, ir.TensorProtoTensor) and tensor.dtype != ir.DataType.STRING:
                value.const_value = ir.Tensor(
                    tensor.numpy(),
                    tensor.dtype,
                    name=tensor.name,
                    doc_string=tensor.doc_string,
                    metadata_props=dict(tensor.metadata_props),
                )
    return model


def weight_bytes(path: Path) -> int:
    """Bytes of all initializers of an ONNX file, embedded and external."""
    state = path.stat()
    return _weight_bytes(path, state.st_mtime_ns, state.st_size)


@lru_cache
def _weight_bytes(path: Path, written: int, size: int) -> int:
    """Of the file as it is; the FP32 graph is asked for by each of its candidates and reports."""
    import onnx_ir as ir

    model = ir.load(path)
    tensors = (value.const_value for graph in model.graphs() for value in graph.initializers.values())
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def write_model(model: ir.Model, path: Path, limit: int = EMBEDDED_LIMIT) -> None:
    """Write the model; the same model gives the same bytes, and the file exists whole or not at all.

    Args:
        model: left as it is, but for values of one name, which are told apart; none of its tensors may lie in `path`
            or its data file.
        limit: bytes of weights above which they are written to `<stem>.onnx.data` beside the file.
    """
    import onnx_ir as ir

    tell_values_apart(model)
    tensors = (value.const_value for graph in model.graphs() for value in graph.initializers.values())
    large = sum(tensor.nbytes for tensor in tensors if tensor is not None) > limit
    data = f"{path.stem}.onnx.data"
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as name:
        directory = Path(name)
        if large:
            ir.save(model, directory / path.name, external_data=data)
            os.replace(directory / data, path.parent / data)
        else:
            ir.external_data.load_to_model(model)
            ir.save(model, directory / path.name)
            (path.parent / data).unlink(missing_ok=True)
        os.replace(directory / path.name, path)


def free_axes(specs: Sequence[TensorSpec]) -> dict[str, dict[int, str]]:
    """Name of each free axis by tensor and axis; a tensor without any is left out."""
    named = {s.name: {axis: size for axis, size in enumerate(s.shape) if isinstance(size, str)} for s in specs}
    return {name: axes for name, axes in named.items() if axes}


def _parsed(path: Path) -> Any:
    """The model without its external data."""
    import onnx

    if not os.path.lexists(path):
        raise InputError(f"{path} does not exist.", hint="Give the path of an .onnx file.")
    need_text(path)
    hint = "Copy or export the file again, and compare its size with the original's."
    with opened(path, most=MESSAGE, what="is not an ONNX model, or it is truncated", hint=hint) as file:
        proto = onnx.load(file, format="protobuf", load_external_data=False)
    # Foreign bytes may parse as a message of unknown fields, and an empty file is an empty message.
    if not proto.ir_version or not proto.opset_import or not (proto.graph.node or proto.graph.output):
        raise InputError(
            f"{path} ({path.stat().st_size} bytes) is not a complete ONNX model: it has no graph or no opset.",
            hint=hint,
        )
    if name := no_text(proto):
        raise InputError(
            f"{path} is not a valid ONNX model: {name[:LINE]} is a name in it, and not UTF-8.",
            hint=f"It may be damaged. {hint}",
        )
    return proto


def _external_files(proto: Any, path: Path) -> tuple[Path, ...]:
    """The files that hold external data, each checked to lie beside the model and to be long enough."""
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    needed: dict[str, int] = {}
    for tensor in _tensors(proto):
        if uses_external_data(tensor):
            _check_keys(tensor, path)
            info = ExternalDataInfo(tensor)
            end = (info.offset or 0) + (_tensor_bytes(tensor) if info.length is None else info.length)
            needed[info.location] = max(needed.get(info.location, 0), end, (info.offset or 0) + _tensor_bytes(tensor))
    return tuple(_external_file(path, location, size) for location, size in sorted(needed.items()))


def _check_keys(tensor: Any, path: Path) -> None:
    """An unknown key would be passed over: where it stands for a damaged `offset`, other weights would be read."""
    keys = [entry.key for entry in tensor.external_data if not entry.key.startswith("prepacked_")]
    if unknown := [key for key in keys if key not in _KEYS]:
        raise InputError(
            f"{path} says {unknown[0][:LINE]!r} of weights in another file; ONNX knows {', '.join(_KEYS)}.",
            hint="It may be damaged. Copy or export the file again, and compare its size with the original's.",
        )


def _external_file(path: Path, location: str, size: int) -> Path:
    directory = path.parent.resolve()
    file = path.parent / location
    if not location or Path(location).is_absolute() or not file.resolve().is_relative_to(directory):
        raise InputError(
            f"{path} keeps weights in {location!r}, which is outside its directory; they are not read.",
            hint="Put the data file beside the model, and name it by a relative path.",
        )
    if not file.is_file():
        raise InputError(
            f"{path} keeps weights in {location!r}, which is not in {path.parent}.",
            hint="Copy the data file beside the model.",
        )
    if file.stat().st_size < size:
        raise InputError(
            f"{path} needs {size} bytes of {location!r}, which has {file.stat().st_size}: it is truncated.",
            hint="Copy the data file again.",
        )
    return file


def _tensors(proto: Any) -> Iterator[Any]:
    """Every tensor of the model: initializers and attributes, in subgraphs and functions too."""
    yield from _graph_tensors(proto.graph)
    for function in proto.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Any) -> Iterator[Any]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from _graph_tensors(graph)


def _tensor_bytes(tensor: Any) -> int:
    import onnx_ir as ir

    return math.ceil(int(math.prod(tensor.dims)) * ir.DataType(tensor.data_type).bitwidth / 8)


def _check(path: Path) -> ir.Model | None:
    """Refuse what onnx's checker refuses, but for what runtimes mend as well; returns the mended model."""
    said, model = _complaint(path), None
    for words, mend in MENDS.items():
        if words in said:
            model = model or read_model(path)
            mend(model, path)
            with temporary() as scratch:
                write_model(model, scratch / path.name)
                said = _complaint(scratch / path.name)
    if said:
        raise InputError(f"{path} is not a valid ONNX model: {said[:LINE]}", hint="Export it again.")
    return model


def _complaint(path: Path) -> str:
    """What onnx's checker says of a file; empty where it takes it."""
    import onnx

    try:
        onnx.checker.check_model(str(path))
    except (onnx.checker.ValidationError, RuntimeError) as error:
        return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return ""


def _opset(proto: Any, path: Path) -> int:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx"):
            if entry.version > newest:  # what its operators mean nobody here knows
                raise InputError(
                    f"{path} imports opset {entry.version} of the ONNX operators; onnx {onnx.__version__} knows those "
                    f"up to {newest}.",
                    hint="Export the model at an older opset, or install a newer onnx.",
                )
            return int(entry.version)
    domains = ", ".join(entry.domain for entry in proto.opset_import)
    raise InputError(
        f"{path} imports no opset of the ONNX operators, only of {domains}; such a graph is not captured.",
        hint="Give the model that it is a part of, or add the opset of ONNX that its values are made with.",
    )


def _digest(*files: Path) -> str:
    """Sha256 over the files in order, each preceded by its size."""
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.stat().st_size}:".encode())
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                total.update(chunk)
    return total.hexdigest()


def _take_outputs(proto: Any, model: ir.Model) -> None:
    """What the file does not say of its outputs may have been seen."""
    import onnx_ir as ir

    outputs = [ir.serde.serialize_value(value) for value in model.graph.outputs]
    del proto.graph.output[:]
    proto.graph.output.extend(outputs)


def _specs(proto: Any, path: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    # Up to IR version 3 every initializer is listed among the inputs as well.
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = tuple(_spec(value, path) for value in proto.graph.input if value.name not in constants)
    return inputs, tuple(_spec(value, path) for value in proto.graph.output)


def _spec(value: Any, path: Path) -> TensorSpec:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise InputError(
            f"{path}: {value.name!r} is not a tensor of known rank, but {_kind(value.type)}.",
            hint="Inputs and outputs must be tensors. Where only the rank is not known, run onnx.shape_inference on "
            "the model, or export it with the shapes of its inputs and outputs.",
        )
    shape = tuple(_size(size, f"{value.name}_axis{axis}") for axis, size in enumerate(tensor.shape.dim))
    return TensorSpec(name=value.name, dtype=_dtype(tensor.elem_type, value.name, path), shape=shape)


def _kind(found: Any) -> str:
    """What a value is that has no known rank, in words."""
    said = {"sequence_type": "a sequence", "optional_type": "optional", "map_type": "a map"}
    return said.get(found.WhichOneof("value") or "", "a tensor of any rank")


def _dtype(number: int, name: str, path: Path) -> str:
    import onnx_ir as ir

    try:
        return str(ir.DataType(number).numpy().name)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path}: {name!r} holds elements of type {number}, which no tensor of numbers has.",
            hint="Export it again.",
        ) from error


def _size(size: Any, fallback: str) -> int | str:
    """A fixed size, or the name of a free axis."""
    said: int | str = int(size.dim_value) if size.HasField("dim_value") else str(size.dim_param)
    return fallback if says_nothing(said) else said


def says_nothing(size: int | str | None) -> bool:
    """The axis is free and has no name: exporters write 0, -1 or one sign for all of them."""
    if isinstance(size, int):
        return size < 1
    return size is None or size.lower() in _NAMELESS or not any(sign.isalpha() for sign in size)
