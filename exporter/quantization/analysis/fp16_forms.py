"""Forms of arithmetic that need the range or the digits of float32, whatever samples show of their values.

Samples need hold no silence, no position of 4000 and no row of zeros. A square that a root follows, the exponential
before a logarithm and an angle of many turns are such by their form: what comes of them is of usual size, and what is
between them is not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...graphs.values import constant
from .fp16_operators import EXACT, EXTREMES, INSIDE, MASKING, MEANS, MOVING, PASSED, PLAIN, SOFTMAX, SUMS

if TYPE_CHECKING:
    import onnx_ir as ir

Array = npt.NDArray[np.generic]
# float16 makes its least number of a constant below it that is not 0.
LEAST = 2.0**-24
# A constant that it is further off from, as a share, is not the one that was written: 1 % is 40 dB.
OFF = 0.01
# From here on it does not hold every whole number.
WHOLE = 2048.0


def needs_float32(graph: ir.Graph) -> dict[str, str]:
    """Why a node stays float32 by the form that it is part of, by node name."""
    found: dict[str, str] = {}
    for rule in (_guarding, _inside, _between, _distances, _exact, _large_constants):
        for node, why in rule(graph):
            if node.name and computes_floats(node):
                found.setdefault(node.name, why)
    return found


def _inside(graph: ir.Graph) -> Iterator[tuple[ir.Node, str]]:
    """Operators that are several in one."""
    for node in graph:
        if node.op_type in INSIDE:
            yield node, f"inside of a {node.op_type} float16 lacks range"


def _guarding(graph: ir.Graph) -> Iterator[tuple[ir.Node, str]]:
    """Sums with a constant that float16 has not, which keeps a logarithm, root or quotient from 0; and those."""
    for node in graph:
        if node.op_type not in SUMS:
            continue
        for value in node.inputs:
            array = constant(value)
            if value is None or array is None or array.dtype != np.float32 or not (least := _missed(array)):
                continue
            made = max(float(np.float16(least)), LEAST)
            yield from (
                (one, f"{value.name} is {least:.3g}, of which float16 makes {made:.3g}") for one in _guarded(node)
            )
            break


def _missed(array: Array) -> float:
    """The least magnitude in it, where that is next to 0 and float16 is far off; else 0."""
    magnitudes = np.abs(array[array != 0])
    least = float(magnitudes.min()) if magnitudes.size else 0.0
    return least if least < 1 and abs(_made(least) - least) > OFF * least else 0.0


def _made(least: float) -> float:
    """What float16 makes of a small number."""
    return max(float(np.float16(least)), LEAST)


def _guarded(node: ir.Node) -> list[ir.Node]:
    """The node and what it keeps from 0, moved or behind a root too; nothing where that is none."""
    found: list[ir.Node] = []
    for use in node.outputs[0].uses():
        if use.node.op_type in MOVING and use.idx == 0:
            found += _guarded(use.node)
        elif use.node.op_type in ("Log", "Sqrt", "Reciprocal", "Pow") or (use.node.op_type == "Div" and use.idx == 1):
            found += [use.node, *(_guarded(use.node) if use.node.op_type == "Sqrt" else ())]
    return [node, *found] if found else []


def _between(graph: ir.Graph) -> Iterator[tuple[ir.Node, str]]:
    """From a square or an exponential to the root, logarithm or quotient that makes it small again."""
    for end in graph:
        if end.op_type == "Log":
            ways, what = _ways(end.inputs[0], _widens_for_log, "Mul", "Div"), "the logarithm"
        elif _is_root(end):
            ways, what = _ways(end.inputs[0], _widens), "the root"
        elif end.op_type in ("Div", "Reciprocal"):
            ways, what = _ways(end.inputs[end.op_type == "Div"], _widens), "the quotient"
            ways = ways if any(node.op_type in MEANS for node in ways) else []
        else:
            continue
        if not ways:
            continue
        why = f"from {ways[0].name} ({ways[0].op_type}) to {what} {end.name} float16 lacks range"
        behind = _normalizing(end) if _is_root(end) else ()
        yield from ((node, why) for node in (*ways, *_centering(ways), end, *behind))


def _ways(value: ir.Value | None, widens: Callable[[ir.Node], bool], *through: str) -> list[ir.Node]:
    """The nodes on the ways from what widens the range to the value, through sums, means and constant factors.

    The first is one that widens.

    Args:
        through: further operators that the ways may lead through.
    """
    back: list[ir.Node] = []
    starts: list[ir.Node] = []
    todo, seen = [value], set()
    while todo:
        one = todo.pop()
        maker = None if one is None else one.producer()
        if maker is None or maker in seen:
            continue
        seen.add(maker)
        if widens(maker):
            starts.append(maker)
        elif maker.op_type in PASSED or maker.op_type in through or _scales(maker):
            back.append(maker)
            todo.extend(maker.inputs)
    inside, ways, todo_nodes = set(back), list(starts), list(starts)
    while todo_nodes:
        for output in todo_nodes.pop().outputs:
            for use in output.uses():
                if use.node in inside:
                    inside.remove(use.node)
                    ways.append(use.node)
                    todo_nodes.append(use.node)
    return ways


def _widens(node: ir.Node) -> bool:
    """A square, a power, or an exponential of what has no upper end."""
    if node.op_type == "Mul":
        return node.inputs[0] is node.inputs[1]
    if node.op_type == "Pow":
        return _exponent(node) > 1
    return node.op_type == "ReduceSumSquare" or (node.op_type == "Exp" and not _ends_at_one(node))


def _widens_for_log(node: ir.Node) -> bool:
    """Those, and shares, of which float32 tells 1e-30 from 0."""
    return _widens(node) or node.op_type in ("Softmax", "Sigmoid", "Exp")


def _ends_at_one(node: ir.Node) -> bool:
    """Whether it is the exponential of values less their largest."""
    maker = None if node.inputs[0] is None else node.inputs[0].producer()
    largest = None if maker is None or maker.op_type != "Sub" else maker.inputs[1]
    return largest is not None and (of := largest.producer()) is not None and of.op_type in EXTREMES


def _is_root(node: ir.Node) -> bool:
    return node.op_type == "Sqrt" or (node.op_type == "Pow" and _exponent(node) < 1)


def grown(node: ir.Node, largest: float, times: float) -> float:
    """What a square, a power or an exponential makes of so many times the largest that it reads; 0 of another node."""
    if not _widens(node) or node.op_type == "ReduceSumSquare":
        return 0.0
    power = 2.0 if node.op_type == "Mul" else _exponent(node)
    return float(np.exp(min(times * largest, 700.0)) if node.op_type == "Exp" else (times * largest) ** power)


def _exponent(node: ir.Node) -> float:
    """Of a power with one constant exponent; 1 where it is another."""
    array = constant(node.inputs[1]) if node.op_type == "Pow" else None
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else 1.0


def _scales(node: ir.Node) -> bool:
    """Whether it multiplies by a constant, or divides by one."""
    return (node.op_type == "Mul" and any(constant(value) is not None for value in node.inputs)) or (
        node.op_type == "Div" and constant(node.inputs[1]) is not None
    )


def _centering(ways: Iterable[ir.Node]) -> Iterator[ir.Node]:
    """What takes the mean off before the square; means that are squared themselves."""
    for node in ways:
        if node.op_type in ("Mul", "Pow", "ReduceSumSquare"):
            maker = None if node.inputs[0] is None else node.inputs[0].producer()
            if maker is None:
                continue
            means = [value.producer() for value in (*maker.inputs[1:], maker.outputs[0]) if value is not None]
            of = [mean for mean in means if mean is not None and mean.op_type in MEANS]
            yield from of
            if of and maker.op_type == "Sub":
                yield maker


def _normalizing(root: ir.Node) -> Iterator[ir.Node]:
    """What divides by a root, as a norm does: float16 ends below the reciprocal of one of 1e-5."""
    for use in root.outputs[0].uses():
        node = use.node
        if node.op_type in MOVING or (
            node.op_type in SUMS and any(constant(value) is not None for value in node.inputs)
        ):
            behind = list(_normalizing(node))
            yield from ((node, *behind) if behind else ())
        elif node.op_type == "Reciprocal":
            yield node
            yield from (one.node for one in node.outputs[0].uses() if one.node.op_type == "Mul")
        elif (node.op_type == "Div" and use.idx == 1) or (node.op_type == "Mul" and root.op_type == "Pow"):
            yield node


def _distances(graph: ir.Graph) -> Iterator[tuple[ir.Node, str]]:
    """Squared distances as `a² + b² - 2ab`: of points that lie close beside how far they are from 0 nothing is left."""
    for end in graph:
        if end.op_type in ("Add", "Sub", "Gemm"):
            nodes = _added_distances(end)
        elif end.op_type == "MatMul":  # of [-2a, a², 1] and [b, 1, b²], as torch.cdist has it
            nodes = [node for value in end.inputs for node in _sums_of_squares(value)]
            nodes = [*nodes, *_operands(end)] if any(node.op_type == "Concat" for node in nodes) else []
        else:
            continue
        why = f"in {end.name} ({end.op_type}) sums of squares and a product may cancel"
        yield from ((node, why) for node in ((*nodes, end, *_summed_behind(end)) if nodes else ()))


def _added_distances(end: ir.Node) -> list[ir.Node]:
    """What a sum is of, if that is a sum of squares on one side and a product on the other."""
    added = end.inputs[2:] if end.op_type == "Gemm" else end.inputs
    squares = [_sums_of_squares(value) for value in added]
    if not any(squares):
        return []
    products = [[end]] if end.op_type == "Gemm" else [_ways(value, _multiplies) for value in reversed(added)]
    if not any(ways and product for ways, product in zip(squares, products, strict=True)):
        return []
    nodes = [node for ways in (*squares, *products) for node in ways]
    return [*nodes, *(one for node in nodes if _multiplies(node) for one in _operands(node))]


def _sums_of_squares(value: ir.Value | None) -> list[ir.Node]:
    ways = _ways(value, _squares)
    return ways if any(node.op_type in MEANS or node.op_type == "ReduceSumSquare" for node in ways) else []


def _operands(product: ir.Node) -> Iterator[ir.Node]:
    """What scales or moves the operands of a product: rounded there, they are no longer what is squared."""
    todo = list(product.inputs[:2])
    while todo:
        value = todo.pop()
        maker = None if value is None else value.producer()
        if maker is not None and (maker.op_type in MOVING or maker.op_type == "Concat" or _scales(maker)):
            yield maker
            todo.extend(maker.inputs)


def _squares(node: ir.Node) -> bool:
    return node.op_type != "Exp" and _widens(node)


def _multiplies(node: ir.Node) -> bool:
    return node.op_type in ("MatMul", "Gemm", "Einsum")


def _summed_behind(node: ir.Node) -> Iterator[ir.Node]:
    """The sums that a distance goes on in: one of its three parts is added last."""
    for use in node.outputs[0].uses():
        if use.node.op_type in ("Add", "Sub"):
            yield use.node
        elif use.node.op_type in MOVING:
            further = list(_summed_behind(use.node))
            yield from ((use.node, *further) if further else ())


def _exact(graph: ir.Graph) -> Iterator[tuple[ir.Node, str]]:
    """Angles, remainders, steps and comparisons of what is computed of inputs or whole numbers alone."""
    for node in graph:
        if node.op_type in EXACT or _cuts(node):
            why = f"{node.name} ({node.op_type}) tells numbers apart that float16 makes one"
            yield from ((one, why) for one in _of_inputs(node))


def _large_constants(graph: ir.Graph) -> Iterator[tuple[ir.Node, str]]:
    """Sums with numbers beside which float16 has not every whole one."""
    for node in graph:
        if node.op_type not in ("Add", "Sub"):
            continue
        for value in node.inputs:
            array = constant(value)
            if array is None or value is None or array.dtype != np.float32 or not array.size or masks(value):
                continue
            if WHOLE < (most := float(np.abs(array).max())) <= float(np.finfo(np.float16).max):
                why = f"{value.name} is {most:.6g}, beside which float16 has steps of {np.spacing(np.float16(most)):g}"
                yield from ((one, why) for one in _of_inputs(node) or [node])


def _cuts(node: ir.Node) -> bool:
    """Whether it makes integers of floats."""
    import onnx_ir as ir

    if node.op_type != "Cast":
        return False
    kind = ir.DataType(node.attributes["to"].as_int())
    return kind.is_integer() or kind == ir.DataType.BOOL


def _of_inputs(node: ir.Node) -> list[ir.Node]:
    """The node and all that it is computed of, where that is plain arithmetic on inputs and constants; else none.

    Whole numbers are as good as inputs, whatever they come of: float16 has no part in them.
    """
    found, todo = [node], list(node.inputs)
    seen = {node}
    while todo:
        value = todo.pop()
        maker = None if value is None or _is_whole(value) else value.producer()
        if maker is None or maker in seen:
            continue
        if maker.op_type not in PLAIN and not _is_outer(maker):
            return []
        seen.add(maker)
        found.append(maker)
        todo.extend(maker.inputs)
    return found


def _is_whole(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_integer()


def arithmetic_before(node: ir.Node, products: Collection[str]) -> list[ir.Node]:
    """What a node is computed of by plain arithmetic, up to products of matrices and with these."""
    found: list[ir.Node] = []
    todo, seen = list(node.inputs), {node}
    while todo:
        value = todo.pop()
        maker = None if value is None else value.producer()
        if maker is None or maker in seen or not (maker.op_type in PLAIN or maker.op_type in products):
            continue
        seen.add(maker)
        if computes_floats(maker):
            found.append(maker)
        todo.extend(() if maker.op_type in products else maker.inputs)
    return found


def _is_outer(node: ir.Node) -> bool:
    """Whether a product of matrices adds nothing up: each position times each frequency."""
    left = node.inputs[0].shape if node.op_type == "MatMul" and node.inputs[0] is not None else None
    return left is not None and left.rank() > 0 and left[-1] == 1


def computes_floats(node: ir.Node) -> bool:
    """Whether a float32 value is read or given, as far as types are known."""
    import onnx_ir as ir

    if node.op_type in ("Shape", "Size", "Constant", "ConstantOfShape"):
        return False
    values = [value for value in (*node.inputs, *node.outputs) if value is not None]
    return any(value.dtype in (None, ir.DataType.FLOAT) for value in values)


def masks(value: ir.Value) -> bool:
    """Whether all that reads the value leads to a softmax, through sums and selections alone."""
    stack, visited = [value], set()
    while stack:
        current = stack.pop()
        if current.is_graph_output():
            return False
        for use in current.uses():
            if use.node in visited or use.node.op_type in SOFTMAX:
                continue
            if use.node.op_type not in MASKING:
                return False
            visited.add(use.node)
            stack.extend(use.node.outputs)
    return True
