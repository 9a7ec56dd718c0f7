"""What is unusual about a file beside its operators: each change leaves it valid, and what it computes the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .builder import Array, run


@dataclass(slots=True, kw_only=True)
class _Odd:
    """A model that is changed: `names` are its inputs' now."""

    model: onnx.ModelProto
    chance: np.random.Generator
    names: dict[str, str]

    @property
    def graph(self) -> onnx.GraphProto:
        return self.model.graph

    @property
    def opset(self) -> int:
        return int(self.model.opset_import[0].version)


def applied(model: onnx.ModelProto, chance: np.random.Generator, probes: Mapping[str, tuple[Array, ...]]) -> tuple[
        onnx.ModelProto, dict[str, str], tuple[str, ...]]:  # fmt: skip
    """Some of them; the model, its inputs' names now, and what was done.

    Args:
        probes: values of the inputs, to see that nothing changed.
    """
    at = _Odd(model=model, chance=chance, names={name: name for name in probes})
    done = []
    for change in ALL:
        if chance.random() < (0.5 if change is ir_version else 0.12):
            new = _Odd(model=copy.deepcopy(at.model), chance=chance, names=dict(at.names))
            if change(new) and _same(at, new, probes):
                at = new
                done.append(change.__name__)
    return at.model, at.names, tuple(done)


def _same(old: _Odd, new: _Odd, probes: Mapping[str, tuple[Array, ...]]) -> bool:
    try:
        onnx.checker.check_model(new.model)
        one, two = (run(of.model, {of.names[n]: arrays[0] for n, arrays in probes.items() if of.names[n] in {
            value.name for value in of.graph.input}}) for of in (old, new))  # fmt: skip
    except Exception:  # whatever either says: then it is not done
        return False
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=False))


def awkward_names(odd: _Odd) -> bool:
    """Values are called as others would not, some like those that quantization adds."""
    signs = (
        "/{}",
        "{}:0",
        "my {}",
        "{}/größe",
        "{}_scale",
        "{}_QuantizeLinear_Output",
        "onnx::{}",
        "{}_DequantizeLinear",
    )
    sign = str(odd.chance.choice(signs))
    inner = _inner(odd.graph)
    _rename(odd, {name: sign.format(name) for name in inner if odd.chance.random() < 0.5})
    return bool(inner)


def names_like_ours(odd: _Odd) -> bool:
    """A weight or a result is called like what would be added for another value."""
    inner, first = _inner(odd.graph), next(iter(odd.names.values()))
    if len(inner) < 3:
        return False
    ours = (
        f"{first}_scale",
        f"{first}_zero_point",
        f"{first}_QuantizeLinear_Output",
        f"{inner[0]}_scale",
        f"{first}_single",
    )
    taken = {*_inner(odd.graph), *odd.names.values()}
    _rename(odd, {name: new for name, new in zip(inner[1:], ours, strict=False) if new not in taken})
    return True


def numbered(odd: _Odd) -> bool:
    """Values are called by numbers, as old exporters do."""
    _rename(odd, {name: str(100 + i) for i, name in enumerate(_inner(odd.graph))})
    return True


def equal_node_names(odd: _Odd) -> bool:
    for node in odd.graph.node:
        node.name = node.op_type.lower()
    return True


def no_node_names(odd: _Odd) -> bool:
    for node in odd.graph.node:
        node.name = ""
    return True


def ir_version(odd: _Odd) -> bool:
    """Any that the opset and the operators allow; up to 3 every initializer is an input as well."""
    least = 3 if odd.opset <= 8 and not odd.model.functions else 8
    odd.model.ir_version = int(odd.chance.integers(least, 12))
    if odd.model.ir_version < 4:
        listed = {value.name for value in odd.graph.input}
        for tensor in odd.graph.initializer:
            if tensor.name not in listed:
                odd.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return True


def shapes_listed(odd: _Odd) -> bool:
    """Shapes of all values, as inference finds them."""
    odd.model = onnx.shape_inference.infer_shapes(odd.model)
    return True


def wrong_sizes_listed(odd: _Odd) -> bool:
    """Shapes of values inside that are not theirs: other names for free sizes."""
    odd.model = onnx.shape_inference.infer_shapes(odd.model)
    for value in odd.graph.value_info:
        for size in value.type.tensor_type.shape.dim:
            if size.HasField("dim_param"):
                size.dim_param = f"{size.dim_param}_other"
    return bool(odd.graph.value_info)


def outputs_without_sizes(odd: _Odd) -> bool:
    """Nothing is said of the outputs' sizes but how many there are."""
    for value in odd.graph.output:
        for size in value.type.tensor_type.shape.dim:
            size.Clear()
    return True


def outputs_without_shape(odd: _Odd) -> bool:
    for value in odd.graph.output:
        value.type.tensor_type.ClearField("shape")
    return True


def twice_an_output(odd: _Odd) -> bool:
    """A second output that is an Identity of the first."""
    first = odd.graph.output[0]
    odd.graph.node.append(helper.make_node("Identity", [first.name], [f"{first.name}_again"]))
    second = copy.deepcopy(first)
    second.name = f"{first.name}_again"
    odd.graph.output.append(second)
    return True


def weight_as_output(odd: _Odd) -> bool:
    """A result that is an input of another node is an output as well."""
    read = {name for node in odd.graph.node for name in node.input}
    outputs = {value.name for value in odd.graph.output}
    inferred = onnx.shape_inference.infer_shapes(odd.model).graph.value_info
    able = [value for value in inferred if value.name in read - outputs and value.type.tensor_type.elem_type == 1
            and value.type.tensor_type.shape.dim and value.type.tensor_type.shape.dim[0].dim_param]  # fmt: skip
    if not able:
        return False
    odd.graph.output.append(able[int(odd.chance.integers(len(able)))])
    return True


def unused_input(odd: _Odd) -> bool:
    """An initializer that nothing reads, and one that is an input as well."""
    odd.graph.initializer.append(numpy_helper.from_array(np.zeros((2, 2), np.float32), "nobody reads this"))
    if odd.chance.random() < 0.5:
        odd.graph.input.append(helper.make_tensor_value_info("nobody reads this", 1, [2, 2]))
    return True


def described(odd: _Odd) -> bool:
    """Texts for people, and what training left."""
    odd.model.producer_name, odd.model.doc_string, odd.model.domain = "pytorch", "made\n\tby ☃", "org.example"
    helper.set_model_props(odd.model, {"classes": "{0: 'a'}", "": "", "stride": "32"})
    for node in odd.graph.node:
        node.doc_string = 'File "model.py", line 1'
    return True


def in_functions(odd: _Odd) -> bool:
    """A node is a function of the file's own, called where the node was, with an attribute handed through."""
    able = [i for i, node in enumerate(odd.graph.node) if _plain(node)]
    if not able or odd.opset < 8:
        return False
    index = able[int(odd.chance.integers(len(able)))]
    node = odd.graph.node[index]
    formal, results = [f"in_{i}" for i in range(len(node.input))], [f"out_{i}" for i in range(len(node.output))]
    inner = helper.make_node(node.op_type, formal, results, "inner")
    for attribute in node.attribute:
        given = onnx.AttributeProto(name=attribute.name, type=attribute.type, ref_attr_name=f"its_{attribute.name}")
        inner.attribute.append(given)
    names = [f"its_{attribute.name}" for attribute in node.attribute]
    imports = [entry for entry in odd.model.opset_import if entry.domain == ""]
    function = helper.make_function("own.domain", "Block", formal, results, [inner], imports, names)
    call = helper.make_node("Block", list(node.input), list(node.output), node.name, domain="own.domain")
    for attribute in node.attribute:
        kept = copy.deepcopy(attribute)
        kept.name = f"its_{attribute.name}"
        call.attribute.append(kept)
    odd.graph.node[index].CopyFrom(call)
    odd.model.functions.append(function)
    odd.model.opset_import.append(helper.make_opsetid("own.domain", 1))
    odd.model.ir_version = max(odd.model.ir_version, 8)
    return True


def in_a_branch(odd: _Odd) -> bool:
    """A node is in both arms of an If that a constant decides."""
    able = [i for i, node in enumerate(odd.graph.node) if _plain(node) and len(node.output) == 1]
    if not able or odd.opset < 11:
        return False
    index = able[int(odd.chance.integers(len(able)))]
    node = odd.graph.node[index]
    arms = []
    for arm in ("then", "else"):
        inner = copy.deepcopy(node)
        inner.output[0] = f"{arm}_{node.output[0]}"
        arms.append(helper.make_graph([inner], arm, [], [helper.make_empty_tensor_value_info(inner.output[0])]))
    odd.graph.initializer.append(numpy_helper.from_array(np.asarray(odd.chance.random() < 0.5), "decides"))
    odd.graph.node[index].CopyFrom(
        helper.make_node("If", ["decides"], list(node.output), "if", then_branch=arms[0], else_branch=arms[1])
    )
    return True


def raw_and_typed(odd: _Odd) -> bool:
    """Weights as lists of numbers and not as bytes."""
    for tensor in odd.graph.initializer:
        if tensor.data_type in (1, 6, 7):
            array = numpy_helper.to_array(tensor)
            tensor.CopyFrom(helper.make_tensor(tensor.name, tensor.data_type, array.shape, array.ravel()))
    return True


def sparse_initializer(odd: _Odd) -> bool:
    """A weight without its zeros."""
    if odd.opset < 11:
        return False
    listed = {value.name for value in odd.graph.input}
    able = [t for t in odd.graph.initializer if t.data_type == 1 and len(t.dims) == 2 and t.name not in listed]
    if not able:
        return False
    tensor = able[int(odd.chance.integers(len(able)))]
    array = numpy_helper.to_array(tensor).ravel()
    places = np.flatnonzero(array).astype(np.int64)
    held, where = numpy_helper.from_array(array[places], tensor.name), numpy_helper.from_array(places, "")
    odd.graph.sparse_initializer.append(helper.make_sparse_tensor(held, where, list(tensor.dims)))
    odd.graph.initializer.remove(tensor)
    return True


ALL: tuple[Callable[[_Odd], bool], ...] = (
    numbered, awkward_names, names_like_ours, equal_node_names, no_node_names, twice_an_output, weight_as_output,
    in_a_branch, in_functions, unused_input, raw_and_typed, sparse_initializer, described, shapes_listed,
    wrong_sizes_listed, outputs_without_sizes, outputs_without_shape, ir_version,
)  # fmt: skip


def _plain(node: onnx.NodeProto) -> bool:
    """A node of ONNX with values alone, and no body."""
    bodies = any(attribute.HasField("g") for attribute in node.attribute)
    return not node.domain and not bodies and all(node.input) and bool(node.input) and node.op_type != "Constant"


def _inner(graph: onnx.GraphProto) -> list[str]:
    """Names that no caller of the model knows."""
    known = {value.name for value in (*graph.input, *graph.output)}
    made = [name for node in graph.node for name in node.output] + [tensor.name for tensor in graph.initializer]
    return [name for name in dict.fromkeys(made) if name and name not in known]


def _rename(odd: _Odd, new: Mapping[str, str]) -> None:
    for tensor in odd.graph.initializer:
        tensor.name = new.get(tensor.name, tensor.name)
    _rename_nodes(odd.graph, new)
    for value in odd.graph.value_info:
        value.name = new.get(value.name, value.name)


def _rename_nodes(graph: onnx.GraphProto, new: Mapping[str, str]) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = new.get(name, name)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename_nodes(attribute.g, new)
