"""The script that builds an engine on a device without this package: with its Python, or NVIDIA's own command."""

from __future__ import annotations

import shlex

from ..errors import InputError
from ..profiles.device.precision import PrecisionName, load_precision
from ..profiles.device.target import Target, Toolchain
from .base import Graph, TensorSpec

_SCRIPT = """\
#!/bin/sh
# Builds model.plan on the device, for {target} with {toolchain} (TensorRT {version}), {precision}.
# build.py also proves it on the golden inputs and records how it was built; where Python has no TensorRT, trtexec
# builds it, and nothing is proven.
set -eu
cd "$(dirname "$0")"
PYTHON="${{PYTHON:-python3}}"
if "$PYTHON" -c "import tensorrt" 2>/dev/null; then
    exec "$PYTHON" build.py "$@"
fi
echo "$PYTHON has no module tensorrt (apt install python3-libnvinfer): trtexec builds, and nothing is verified" >&2
TRTEXEC="$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)"
if [ ! -x "$TRTEXEC" ]; then
    echo "trtexec is neither in PATH nor in /usr/src/tensorrt/bin; apt install libnvinfer-bin" >&2
    exit 5
fi
"$TRTEXEC" \\
    {arguments}
"""


def build_script(graph: Graph, target: Target, precision: PrecisionName) -> str:
    """Text of `build.sh`, to lie in the bundle's `engine` directory.

    Raises:
        InputError: the toolchain does not name its TensorRT version, or a free axis has no range.
    """
    arguments = " \\\n    ".join(shlex.quote(argument) for argument in _arguments(graph, target, precision))
    return _SCRIPT.format(
        target=_visible(target.name),
        toolchain=_visible(target.toolchain.name),
        version=_visible(target.toolchain.versions["tensorrt"]),
        precision=precision,
        arguments=arguments,
    )


def _visible(text: str) -> str:
    """For a comment, which a line break would end; files with one are refused when they are read."""
    return "".join(letter for letter in text if letter.isprintable())


def workspace_mib(target: Target) -> int:
    """Scratch memory a kernel may use, from the target's option `workspace_mib`.

    Raises:
        InputError: the option is not a positive whole number.
    """
    value = target.options.get("workspace_mib", 2048)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise InputError(f"Target {target.name}: workspace_mib is {value!r}, expected a number of MiB above 0.")
    return value


def sizes(spec: TensorSpec, graph: Graph) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Smallest, usual and largest shape of an input.

    Raises:
        InputError: a free axis has no range, or one that is not ordered.
    """
    for axis in spec.shape:
        if not isinstance(axis, str):
            continue
        if axis not in graph.axes:
            raise InputError(
                f"Input {spec.name!r} {spec} has the free axis {axis!r}, for which no range is given.",
                hint="TensorRT needs the smallest, the usual and the largest size of every free axis.",
            )
        ends = graph.axes[axis]
        # 0 is the cache of a decoder before its first token.
        if not 0 <= ends.smallest <= ends.usual <= ends.largest or not ends.largest:
            raise InputError(f"The range of axis {axis!r} is not ordered: {ends}.")
    return _shape(spec, graph, "smallest"), _shape(spec, graph, "usual"), _shape(spec, graph, "largest")


def _shape(spec: TensorSpec, graph: Graph, end: str) -> tuple[int, ...]:
    return tuple(getattr(graph.axes[axis], end) if isinstance(axis, str) else axis for axis in spec.shape)


def _arguments(graph: Graph, target: Target, precision: PrecisionName) -> tuple[str, ...]:
    flags = target.toolchain.build_flags.get(precision, ())
    return (
        "--onnx=../model.onnx",
        "--saveEngine=model.plan",
        *flags,
        # TF32 keeps 10 bits of mantissa and is on by default; FP32 must mean it.
        *(("--noTF32",) if load_precision(precision).exact and "--noTF32" not in flags else ()),
        # Like the builder flag SPARSE_WEIGHTS: kernels for 2:4 weights where the weights are such.
        *(("--sparsity=enable",) if target.sparse_weights else ()),
        *_shape_arguments(graph),
        *_build_arguments(workspace_mib(target), _version(target.toolchain)),
    )


def _build_arguments(workspace: int, version: tuple[int, ...]) -> tuple[str, ...]:
    """Flags that were renamed or added; trtexec fails on one it does not know (samples/common/sampleOptions.cpp)."""
    return (
        f"--memPoolSize=workspace:{workspace}" if version >= (8, 4) else f"--workspace={workspace}",
        "--timingCacheFile=timing.cache",
        *(("--profilingVerbosity=detailed", "--exportLayerInfo=layers.json") if version >= (8, 2) else ()),
        "--skipInference" if version >= (8, 6) else "--buildOnly",
    )


def _shape_arguments(graph: Graph) -> tuple[str, ...]:
    free = [spec for spec in graph.inputs if any(isinstance(axis, str) for axis in spec.shape)]
    if not free:
        return ()
    columns = zip(*(sizes(spec, graph) for spec in free), strict=True)
    flags = zip(("--minShapes", "--optShapes", "--maxShapes"), columns, strict=True)
    return tuple(
        f"{flag}={','.join(_sized(spec.name, shape) for spec, shape in zip(free, shapes, strict=True))}"
        for flag, shapes in flags
    )


def _sized(name: str, shape: tuple[int, ...]) -> str:
    # trtexec takes what follows the first ':' for the shape, unless the name is in single quotes.
    quoted = f"'{name}'" if ":" in name else name
    return f"{quoted}:{'x'.join(map(str, shape))}"


def _version(toolchain: Toolchain) -> tuple[int, ...]:
    text = toolchain.versions.get("tensorrt", "")
    try:
        return tuple(int(part) for part in text.split(".")[:2])
    except ValueError as error:
        raise InputError(
            f"Toolchain {toolchain.name} gives its TensorRT version as {text!r}, expected one like 10.3."
        ) from error
