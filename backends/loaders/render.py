"""Write the loaders of one engine from the templates of its backend."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...profiles.findings.channels import ROUNDING
from ...profiles.findings.parity import least_in_all_db
from .elements import ELEMENTS, Element
from .facts import LoaderFacts, LoaderTensor, Slice
from .words import identifier, identifiers, literal, plain

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderLanguage:
    """One in which a loader can be written.

    Attributes:
        words: whose keywords and literals, as in `words.KEYWORDS`.
        library: whose names of types, a field of `Element`.
        files: that a loader consists of.
        status: who has compiled or run such a loader, a sentence.
    """

    title: str
    words: str
    library: str
    files: tuple[str, ...]
    status: str

    def why_not(self, facts: LoaderFacts) -> str:
        """Why there is none for this engine, a clause; empty where there is one."""
        types = sorted({spec.dtype for spec in (*facts.inputs, *facts.outputs)})
        lacking = [name for name in types if name not in ELEMENTS or not getattr(ELEMENTS[name], self.library)]
        return f"the runtime's library for it has no tensors of {' and '.join(lacking)}" if lacking else ""


PYTHON = LoaderLanguage(
    title="Python",
    words="python",
    library="ort",
    files=("loader.py",),
    status="The tests of edgepress run such a loader on x86-64.",
)
CPP = LoaderLanguage(
    title="C++",
    words="cpp",
    library="ort",
    files=("loader.hpp", "check.cpp"),
    status="The tests of edgepress compile such a loader with g++ on x86-64 and run it.",
)
KOTLIN = LoaderLanguage(
    title="Kotlin",
    words="kotlin",
    library="kotlin",
    files=("Loader.kt",),
    status="Such a loader was compiled by kotlinc 2.4 against the signatures of onnxruntime's library; none was run.",
)
SWIFT = LoaderLanguage(
    title="Swift",
    words="swift",
    library="swift",
    files=("Loader.swift",),
    status="No compiler has seen such a loader, only a parser of Swift; none was run.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    """An input or output in the words of a language."""

    name: str
    literal: str
    dtype: str
    element: Element
    told: str
    rows: bool


def loaders(
    backend: str, facts: LoaderFacts, languages: Sequence[LoaderLanguage], settings: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Name to text of the loaders' files, of those languages in which there can be one.

    Args:
        backend: the folder of its templates, and the name of its package; what it lacks there is common to all.
        settings: that the runtime opens the engine with.
    """
    made: dict[str, str] = {}
    environment = _environment()
    more = {"package": backend, "settings": settings or {}}
    for language in languages:
        if language.why_not(facts):
            continue
        for file in language.files:
            template = environment.select_template([f"{backend}/{file}.j2", f"{file}.j2"])
            made[file] = template.render(_values(facts, language), **more)
    return made


def page(backend: str, values: Mapping[str, Any]) -> str:
    """The page that goes with the loaders."""
    return _environment().get_template(f"{backend}/README.md.j2").render(values)


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader(__package__, "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"plain": plain, "shell": shlex.quote}
    return made


def _values(facts: LoaderFacts, language: LoaderLanguage) -> dict[str, Any]:
    words = language.words
    return {
        "title": f"{plain(facts.model)} in {facts.precision}, for {plain(facts.target.title)}",
        "status": language.status,
        # Never the name alone: a model may be called `signal`, which C has a function of.
        "space": identifier(f"{facts.model} model", words, "this"),
        "engine": literal(facts.engine, words),
        "device": literal(str(facts.target.options.get("device", "CPU")), words),
        "inputs": _tensors(facts.inputs, words, "input"),
        "outputs": _tensors(facts.outputs, words, "output"),
        "samples": [
            {
                "inputs": [_slice(one, words) for one in sample.inputs],
                "fp32": [_slice(one, words) for one in sample.fp32],
                "own": [_slice(one, words) for one in sample.own],
            }
            for sample in facts.samples
        ],
        "least_db": _least(facts.least_db, [sample.fp32 for sample in facts.samples]),
        "least_own_db": _least(facts.least_own_db, [sample.own for sample in facts.samples]),
        "rounding": ROUNDING,
    }


def _least(least_db: float | None, samples: Sequence[Sequence[Slice]]) -> list[float] | None:
    """What each output must reach; None where nothing is asked."""
    if least_db is None:
        return None
    sizes = [sum(math.prod(one.shape) for one in output) for output in zip(*samples, strict=True)]
    # Rounded down, as the last decision that may differ is asked for by no more digits than these.
    each = (least_in_all_db(least_db, one.dtype, size) for one, size in zip(samples[0], sizes, strict=True))
    return [math.floor(db * 100) / 100 if math.isfinite(db) else db for db in each]


def _tensors(tensors: Sequence[LoaderTensor], words: str, otherwise: str) -> tuple[_Tensor, ...]:
    names = identifiers((tensor.name for tensor in tensors), words, otherwise)
    return tuple(
        _Tensor(
            name=name,
            literal=literal(tensor.name, words),
            dtype=tensor.dtype,
            element=ELEMENTS[tensor.dtype],
            told=plain(tensor.told),
            rows=tensor.rows,
        )
        for name, tensor in zip(names, tensors, strict=True)
    )


def _slice(one: Slice, words: str) -> dict[str, Any]:
    element = ELEMENTS[one.dtype]
    return {
        "file": literal(("/" if words == "cpp" else "") + one.file, words),
        "offset": one.offset,
        "shape": one.shape,
        "dtype": one.dtype,
        "element": element,
        "bytes": math.prod(one.shape) * element.bytes,
    }
