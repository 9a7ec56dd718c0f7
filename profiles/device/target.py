"""A target: what the device is, what its runtime reads, and how that runtime wants its int8.

Everything here is data. A built-in target is one TOML file in `targets/`; it names a quantization scheme (`schemes/`)
and the software on the device (`toolchains/`), so that a fact stands in one place. A user's own target is a TOML file
by path.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, model_validator
from pydantic_core import ArgsKwargs

from ...errors import InputError
from ..reading.toml_file import read_toml
from ..registry import unknown_name
from .files import read, stems, validate
from .grid import Grid
from .left import KnownSizes, Left
from .precision import PrecisionName, load_precision
from .texts import Flag, Name, OneLine, Prose

Option = OneLine | int | bool | list[OneLine]
T = TypeVar("T")
# Of weights by which two unsigned activations of 8 bits are multiplied and added in 16: 2 * 255 * 63 < 2**15.
SAFE_BITS = 7
_START = "`edgepress targets NAME` shows one to start from."


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One figure of a device, with where it comes from.

    `mark` says how sure it is: measured by us, read in the vendor's document, second hand, or unverified.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    value: float | OneLine
    unit: OneLine = ""
    mark: Literal["measured", "documented", "second-hand", "unverified"]
    source: Prose


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How a runtime wants its Q/DQ. Operators are ONNX operator types.

    Attributes:
        activation: integers of quantized activations, with one scale a tensor.
        weight: integers of quantized weights, symmetric. Where an operator's weight has no axis of output channels, one
            scale a channel is one a tensor.
        weight_storage: `integer` stores integers behind one DequantizeLinear; `float` keeps weights float behind a
            Q/DQ pair.
        bias: `int32` quantizes the bias of Conv and Gemm with scale s_x*s_w, `float` leaves it alone.
        bias_as_products: operators to whose integer products an int32 bias is added whatever its own scale is.
        weighted: operators whose activation input and constant weight are quantized.
        outputs: of those, the ones whose result is quantized as well, after a fused activation.
        result_needed: an operator of `outputs` runs in integers only if its result is quantized.
        fused: activations that the runtime fuses into the operator before them.
        residual: which inputs of an Add that closes a residual branch are quantized.
        keep_scale: operators that pass a quantized tensor on with the same scale and zero point.
        ahead: of those, the ones before which a tensor is quantized rather than after, so that they move integers.
        carried: moved integers have no Q/DQ pair of their own; the runtime takes the one before them to who reads them.
        gated: functions of a convolution's result by which that result is multiplied (SiLU: Sigmoid), quantized on both
            sides, as is the product.
        around: unweighted operators quantized on both sides, each with its own scale.
        shared: operators whose inputs and output share one scale (Concat).
        rows: a transformer's linear layers are written as Gemms over rows of rank 2, and so is a convolution that makes
            its tokens, since the runtime is faster with them or has no other integer kernel with a float result.
        row_biases: a bias that an Add adds to a MatMul in integers is written as one row, of shape (1, N).
        keep_reduced: reductions that keep their axes, which a Squeeze drops, before arithmetic and a quantization.
        extremes_apart: reductions to the largest or smallest value, kept apart from a quantization of their result.
        apart: operators whose constants a channel are kept apart from a quantization of their result: `Mul` and `Div`
            by some that are not positive, `Conv` by its bias, in a graph that asks for the size of anything.
        scales_move: scales a channel are moved through a Reshape that makes other samples of a free batch, to wrong
            channels, and are kept before it; zero points are moved into a Concat of rows, and are kept behind it.
        bytes_apart: booleans and bytes that are converted to float, scaled and added to something are taken for
            quantized ones, and are converted by way of int32.
        dynamic: operators with an integer kernel of their own, which rounds activations by itself, in place of Q/DQ.
        exact_with: instruction sets of which a processor needs one for exact sums. Without, two products are added in
            16 bits: of unsigned integers of 8 bits with weights of more than 7 they saturate. Empty where none is.
        left: what stays float, and why.
        refuses: integers that are none of these grids fail to compile, or are computed wrongly; elsewhere they are
            computed in float, or more slowly.
        axis_ignored: scales of a weight along another axis than output channels are taken for those of output channels.
        also: other grids of activations that the runtime has integer kernels for.
        source: where these rules come from.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Name
    activation: Grid
    weight: Grid
    weight_storage: Literal["integer", "float"]
    bias: Literal["int32", "float"]
    weighted: tuple[str, ...]
    bias_as_products: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    result_needed: bool = False
    fused: tuple[str, ...] = ()
    residual: Literal["both", "skip", "none"]
    keep_scale: tuple[str, ...] = ()
    ahead: tuple[str, ...] = ()
    carried: bool = False
    gated: tuple[str, ...] = ()
    around: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    rows: bool = False
    row_biases: bool = False
    keep_reduced: tuple[str, ...] = ()
    extremes_apart: tuple[Literal["ReduceMax", "ReduceMin", "GlobalMaxPool"], ...] = ()
    apart: tuple[Literal["Mul", "Div", "Conv"], ...] = ()
    scales_move: bool = False
    bytes_apart: bool = False
    dynamic: tuple[Literal["LSTM"], ...] = ()
    exact_with: tuple[Name, ...] = ()
    left: tuple[Left, ...] = ()
    refuses: bool = False
    axis_ignored: bool = False
    also: tuple[Grid, ...] = ()
    source: Prose

    def __post_init__(self) -> None:
        """Refuse grids that no runtime has kernels for.

        Raises:
            ValueError: activations with several scales, weights with a zero point, or an int32 bias beside weights in
                blocks, of whose scales it could have none.
        """
        if self.activation.granularity != "tensor":
            raise ValueError("activations have one scale a tensor")
        if not self.weight.symmetric:
            raise ValueError("weights are symmetric")
        if self.bias == "int32" and self.weight.block is not None:
            raise ValueError("an int32 bias needs one weight scale an output channel, and blocks have more")

    def why_left(self, operator: str, kernel: tuple[int, ...], data: KnownSizes = ()) -> str:
        """Why an operator with a weight of this shape stays float over data of these sizes; empty where it need not."""
        found = self.left_as(operator, kernel, data)
        return "" if found is None else found.reason

    def left_as(self, operator: str, kernel: tuple[int, ...], data: KnownSizes = ()) -> Left | None:
        """What leaves an operator with a weight of this shape, over data of these sizes, float; None for nothing."""
        return next((left for left in self.left if left.takes(operator, kernel, data)), None)

    def on(self, isa: Collection[str]) -> Scheme:
        """The scheme for a processor with these instruction sets: where sums would saturate, with weights of 7 bits."""
        if not self.exact_with or self.weight.depth <= SAFE_BITS or not set(self.exact_with).isdisjoint(isa):
            return self
        return replace(self, weight=replace(self.weight, used=SAFE_BITS))

    @property
    def opset(self) -> int:
        """The lowest ONNX opset that can say it."""
        return max(self.activation.opset, self.weight.opset)

    @model_validator(mode="before")
    @classmethod
    def _read_before_grids(cls, data: Any) -> Any:
        """Schemes of files written before there were grids: `activation = "uint8"`, `symmetric`, weights in int8."""
        given = data.kwargs if isinstance(data, ArgsKwargs) else data
        if not isinstance(given, dict) or not isinstance(given.get("activation"), str):
            return data
        signed = {"int8": True, "uint8": False}.get(given["activation"])
        if signed is None or "symmetric" not in given:
            return data
        rest = {name: value for name, value in given.items() if name != "symmetric"}
        activation = {"bits": 8, "signed": signed, "symmetric": given["symmetric"]}
        weight = {"bits": 8, "signed": True, "symmetric": True, "granularity": "channel"}
        return {"weight": weight, **rest, "activation": activation}


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """The software on the device.

    Attributes:
        opset: the ONNX opset to export: the highest that this software surely parses.
        versions: component to version.
        build_flags: flags of the vendor's own build command for each precision, empty where it has none.
        stand_in: a backend whose parser checks the graph where the target's own is not installed.
        stand_in_lacks: operators that this software has and the stand-in does not.
        operators: all that its parser reads, plugins aside; empty where that is not known.
        types: element types that its parser reads, as numpy calls them; empty where that is not known.
        narrows: element types of which its parser makes narrower ones, as numpy calls both.
        moves_bytes: operators that only move values take uint8; else it is cast to float first.
        suppression: what runs non-maximum suppression: its `operator`, or a `loop` of others where that has no kernel.
        shapes: `free`, or `ranged` where each free axis needs a range to compile, or `fixed` where none may be free.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Name
    opset: int
    versions: dict[Name, Name]
    build_flags: dict[PrecisionName, tuple[Flag, ...]] = field(default_factory=dict)
    stand_in: Name | None = None
    stand_in_lacks: tuple[Name, ...] = ()
    operators: tuple[Name, ...] = ()
    types: tuple[Name, ...] = ()
    narrows: dict[Name, Name] = field(default_factory=dict)
    moves_bytes: bool = True
    suppression: Literal["operator", "loop"] = "operator"
    shapes: Literal["free", "ranged", "fixed"] = "free"
    source: Prose


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A device and the software on it.

    Attributes:
        arch: `x86_64` or `aarch64`, as `platform.machine()` says it; `any` where the artifact is not tied to one.
        core: its processor core, as compilers and QEMU name it (`cortex-a76`), where it has one that is known.
        backend: entry-point name of the backend that compiles for it and runs on it.
        precisions: what it runs, best first.
        scheme: its int8 rules; None exactly when it has no int8.
        options: settings handed to the backend, which documents them.
        channel_multiple: what a channel count should be divisible by for full speed; pruning rounds to it.
        sparse_weights: it runs weights with two zeros in each four (2:4) faster.
        fastest: the precision that is taken where nothing can be measured, and on what grounds; the first of
            `precisions` where nothing is said.
        figures: facts of the device, each with its source.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Name
    title: OneLine
    arch: Literal["x86_64", "aarch64", "any"]
    backend: Name
    precisions: tuple[PrecisionName, ...]
    toolchain: Toolchain
    scheme: Scheme | None = None
    aliases: tuple[Name, ...] = ()
    core: Name | None = None
    options: dict[str, Option] = field(default_factory=dict)
    channel_multiple: int = 8
    sparse_weights: bool = False
    fastest: Fact | None = None
    figures: dict[str, Fact] = field(default_factory=dict)
    notes: tuple[Prose, ...] = ()

    @property
    def opset(self) -> int:
        """The ONNX opset this target is given."""
        return self.toolchain.opset

    def making(self, precision: PrecisionName) -> Target:
        """The target with the scheme that makes a precision, whose own grid of weights replaces the scheme's."""
        made = load_precision(precision)
        if self.scheme is None or made.weights is None or made.scheme_grid:
            return self
        return replace(self, scheme=replace(self.scheme, weight=made.weights))

    def on(self, isa: Collection[str]) -> Target:
        """The target with its scheme for a processor with these instruction sets."""
        return self if self.scheme is None else replace(self, scheme=self.scheme.on(isa))

    @property
    def integers(self) -> tuple[PrecisionName, ...]:
        """The precisions that its scheme makes, best first."""
        return tuple(name for name in self.precisions if load_precision(name).integer)

    @property
    def floats(self) -> tuple[PrecisionName, ...]:
        """The precisions that need no scheme, best first."""
        return tuple(name for name in self.precisions if not load_precision(name).integer)

    @property
    def halves(self) -> tuple[PrecisionName, ...]:
        """The floats that are less exact than FP32, best first."""
        return tuple(name for name in self.floats if not load_precision(name).exact)


@cache
def target_names() -> tuple[str, ...]:
    """Names of the built-in targets, sorted."""
    return stems("targets")


@cache
def schemes() -> tuple[Scheme, ...]:
    """The built-in schemes, by name."""
    return tuple(_named(Scheme, "schemes", "scheme", name) for name in stems("schemes"))


@cache
def target_aliases() -> dict[str, str]:
    """Alias to name, over the built-in targets."""
    return {alias: name for name in target_names() for alias in read("targets", name).get("aliases", ())}


def load_target(name: str) -> Target:
    """The target of a built-in name or alias, or of a TOML file by path; `@TOOLCHAIN` after it selects other software.

    Args:
        name: `jetson`, `jetson-orin-nano-8gb@jetpack-5.1` or `path/to/mine.toml`.

    Raises:
        InputError: an unknown name (the near ones are listed), or a file that is not a valid target.
    """
    base, toolchain = _split(name)
    if base.endswith(".toml"):
        target = _target(read_toml(Path(base), hint=_START), origin=base, beside=Path(base).parent)
    else:
        known = target_aliases().get(base, base)
        if known not in target_names():
            raise InputError(unknown_name("target", base, (*target_names(), *target_aliases())))
        target = _target(read("targets", known), origin=known)
    return target if toolchain is None else replace(target, toolchain=_toolchain(toolchain))


def check_target(target: Target, origin: str) -> None:
    """Refuse a target whose fields do not go together.

    Args:
        origin: its name, or where it is from.

    Raises:
        InputError: naming the fields.
    """
    if not target.precisions:
        raise InputError(f"Target {origin}: `precisions` is empty; give at least fp32.")
    if target.fastest is not None and target.fastest.value not in target.precisions:
        raise InputError(f"Target {origin}: `fastest` is {target.fastest.value!r}, which is none of its `precisions`.")
    if target.channel_multiple < 1:
        raise InputError(f"{origin}: `channel_multiple` is {target.channel_multiple}; expected 1 or more.")
    if bool(target.integers) != (target.scheme is not None):
        raise InputError(f"Target {origin}: int8 and `scheme` go together; give both or neither.")
    if target.scheme is not None and target.scheme.opset > target.opset:
        grids = f"{target.scheme.activation}, {target.scheme.weight}"
        raise InputError(
            f"Target {origin}: its scheme ({grids}) needs ONNX opset {target.scheme.opset}; "
            f"its toolchain reads {target.opset}."
        )


def _split(name: str) -> tuple[str, str | None]:
    """What comes before the last `@` and the toolchain after it; a directory on a path may hold an `@` too."""
    base, at, toolchain = name.rpartition("@")
    return (base, toolchain) if at and not name.endswith(".toml") else (name, None)


def _target(data: dict[str, Any], origin: str, beside: Path | None = None) -> Target:
    """Resolve the names of scheme and toolchain, unless the file spells them out itself.

    Args:
        beside: the directory of a user's own file, whose `scheme` and `toolchain` may name TOML files beside it.
    """
    for key, kind in (("scheme", Scheme), ("toolchain", Toolchain)):
        name = data.get(key)
        if isinstance(name, str):
            path = beside / name if beside is not None and name.endswith(".toml") else None
            told = _named(kind, f"{key}s", key, name) if path is None else validate(kind, read_toml(path), name)
            data[key] = told
    target = validate(Target, data, origin)
    check_target(target, origin)
    return target


def _toolchain(name: str) -> Toolchain:
    return _named(Toolchain, "toolchains", "toolchain", name)


def _named(kind: type[T], folder: str, noun: str, name: str) -> T:
    if name not in stems(folder):
        raise InputError(unknown_name(noun, name, stems(folder)))
    return validate(kind, read(folder, name), name)
