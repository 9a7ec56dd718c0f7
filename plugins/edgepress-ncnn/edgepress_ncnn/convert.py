"""A graph to ncnn's own form, by pnnx in a process of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from edgepress.backends.authoring import import_or_explain
from edgepress.backends.base import Graph, Rejection, TensorSpec
from edgepress.errors import RefusedError
from edgepress.profiles.machine.held import temporary

from .aliases import without_aliases
from .form import BIN, PARAM, Blob, Form

# ncnn's tensors have one to four axes beside that of the samples.
_RANKS = range(2, 6)
_TYPES = {"float32": "f32"}
# The program that pnnx writes to show how its tensors are given to ncnn and taken from it.
_SHOWN = re.compile(r"(?P<array>\w+)\.numpy\((?:\), )?batch_index=(?P<index>\d+)")


def unfit(graph: Graph) -> tuple[Rejection, ...]:
    """What ncnn has no form for in a graph's inputs and outputs."""
    return tuple(
        Rejection(node=spec.name, reason=why) for spec in (*graph.inputs, *graph.outputs) if (why := _unfit(spec))
    )


def convert(graph: Graph, directory: Path) -> tuple[Rejection, ...]:
    """Write an engine of one sample; layers that ncnn does not have are returned.

    Raises:
        RefusedError: pnnx itself fails.
    """
    with temporary() as scratch:
        computed = without_aliases(graph.path, scratch / "model.onnx")
        _converted(graph, scratch)
        shutil.copyfile(scratch / "model.ncnn.param", directory / PARAM)
        shutil.copyfile(scratch / "model.ncnn.bin", directory / BIN)
        _form(graph, computed, (scratch / "model_ncnn.py").read_text(encoding="utf-8")).save(directory)
    return tuple(_unknown(directory / PARAM))


def _unfit(spec: TensorSpec) -> str:
    if spec.dtype not in _TYPES:
        return f"its values are {spec.dtype}, and ncnn is given float32 here"
    if len(spec.shape) not in _RANKS:
        return f"it has {len(spec.shape)} axes; samples of 1 to 4 axes can be given"
    first, *others = spec.shape
    if not isinstance(first, str) and first != 1:
        return f"its first axis is fixed at {first}, and ncnn runs one sample: let it be free, or 1"
    if free := [axis for axis in others if isinstance(axis, str)]:
        return f"its axis {free[0]} is free; only that of the samples can be"
    return ""


def _converted(graph: Graph, scratch: Path) -> None:
    """Run pnnx, which writes a dozen files beside the graph."""
    shapes = ",".join(f"[{','.join(map(str, _sample(spec)))}]{_TYPES[spec.dtype]}" for spec in graph.inputs)
    words = [_program(), "model.onnx", f"inputshape={shapes}", "fp16=0"]
    done = subprocess.run(words, cwd=scratch, capture_output=True, text=True, errors="replace", check=False)
    written = all((scratch / f"model{end}").is_file() for end in (".ncnn.param", ".ncnn.bin", "_ncnn.py"))
    if done.returncode or not written:
        raise RefusedError(
            f"pnnx does not convert {graph.path.name}: it ended with {done.returncode}, after {_last(done.stderr)!r}.",
            hint="Replace the operator in the model, or choose a target whose runtime has it.",
        )


def _form(graph: Graph, computed: dict[str, str], shown: str) -> Form:
    """Tensors by name: pnnx counts inputs and outputs in the graph's order, and its program shows their axes."""
    axes = {found["array"]: int(found["index"]) for found in _SHOWN.finditer(shown)}
    kept = [name for name, found in computed.items() if name == found]
    names = {spec.name: f"in{index}" for index, spec in enumerate(graph.inputs)}
    given = {name: f"out{kept.index(found)}" for name, found in computed.items()}
    if missing := {*names.values(), *given.values()} - axes.keys():
        raise RefusedError(
            f"pnnx does not say how {', '.join(sorted(missing))} of {graph.path.name} are laid out.",
            hint="Install the pnnx that edgepress-ncnn was tested with; its README names it.",
        )
    blobs = [{n: Blob(name=blob, batch_index=axes[blob]) for n, blob in side.items()} for side in (names, given)]
    return Form(inputs=blobs[0], outputs=blobs[1])


def _sample(spec: TensorSpec) -> tuple[int, ...]:
    return 1, *(int(axis) for axis in spec.shape[1:])


def _program() -> str:
    """The program in pnnx's package, whose Python part imports torch."""
    spec = find_spec("pnnx")
    assert spec is not None, "it is asked for where it is installed"
    assert spec.submodule_search_locations is not None
    return str(Path(spec.submodule_search_locations[0]) / "pnnx")


def _unknown(param: Path) -> Iterator[Rejection]:
    """Layers that no ncnn has: pnnx writes what it could not translate under names of its own."""
    create = import_or_explain("ncnn").create_layer
    for line in param.read_text(encoding="utf-8").splitlines()[2:]:
        kind, name = line.split()[:2]
        if create(kind) is None:
            yield Rejection(node=name, reason=f"ncnn has no layer {kind}", operator=kind)


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
