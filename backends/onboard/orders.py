"""What is to be built, as data that travel in a file, and how a build fails."""

import json
from typing import Any, Dict, NamedTuple, Optional, Tuple

Dims = Tuple[int, ...]
# Exit codes, those of edgepress: the input is at fault, verification failed, this machine cannot serve it.
CODES = {"input": 1, "refused": 1, "verification": 4, "unserved": 5}


class BuildError(Exception):
    """An expected fault.

    Attributes:
        kind: a key of `CODES`; `refused` is a graph that the compiler does not take.
        hint: what to do, a sentence.
    """

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind, self.message, self.hint = kind, message, hint


class ShapeRanges(NamedTuple):
    """Smallest, usual and largest shape of an input that has a free axis."""

    smallest: Dims
    usual: Dims
    largest: Dims


class Order(NamedTuple):
    """An engine that is to be built.

    Attributes:
        graph: path of the ONNX file, from the directory that the order lies in.
        target, precision: names, for people.
        made_for: the version of TensorRT that the graph was exported for; empty where none is named.
        ranges: of each input with a free axis.
        weak: builder flags that lower precision (`INT8`, `FP16`), where this TensorRT has them.
        typed: the graph's own floats are of the precision.
        exact: FP32 means it: no TF32.
        sparse: kernels for 2:4 weights are allowed.
        workspace: MiB of scratch memory that a kernel may use.
        dla: core of the Deep Learning Accelerator that is to run what it can; None for the GPU alone.
        capabilities: the compute capabilities that TensorRT-RTX builds for; empty for its own choice.
    """

    graph: str
    target: str
    precision: str
    made_for: str
    ranges: Dict[str, ShapeRanges]
    weak: Tuple[str, ...]
    typed: bool
    exact: bool
    sparse: bool
    workspace: int
    dla: Optional[int] = None
    capabilities: Tuple[str, ...] = ()


def order_text(order: Order) -> str:
    """The order as JSON; the same order gives the same text."""
    fields = dict(order._asdict())
    fields["ranges"] = {name: dict(one._asdict()) for name, one in order.ranges.items()}
    return json.dumps(fields, indent=2, sort_keys=True) + "\n"


def read_order(text: str) -> Order:
    """What `order_text` wrote.

    Raises:
        BuildError: it is none.
    """
    try:
        fields: Dict[str, Any] = json.loads(text)
        ranges = {
            name: ShapeRanges(*(tuple(int(size) for size in one[end]) for end in ShapeRanges._fields))
            for name, one in fields.pop("ranges").items()
        }
        for name in ("weak", "capabilities"):
            fields[name] = tuple(fields[name])
        return Order(ranges=ranges, **fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildError(
            "input", "build.json is no order of edgepress: {}.".format(error), "Copy the bundle again, whole."
        )
