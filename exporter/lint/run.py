"""Hold a graph against a target: every rule, then a parser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ...backends.base import AxisRange, Rejection
from ...backends.places import Local, Place, engine_place
from ...errors import InputError
from ...profiles.device.target import Target
from ...profiles.registry import Registry
from ..graphs.files import read_graph
from ..graphs.free_axes import need_free
from .finding import Finding, LintReport
from .parser import Parsed, has_own_parser, parsed

if TYPE_CHECKING:
    from .examined import Examined

RULES = Registry("edgepress.lint_rules", "lint rule")
Rule = Callable[["Examined"], Iterable[Finding]]
PARSER = "parser"
# What a file that is no valid ONNX may still be told: other rules would read nonsense.
OF_INVALID = ("defined",)


def lint(path: Path, target: Target, axes: Mapping[str, AxisRange] | None = None, on: str | None = None) -> LintReport:
    """What every rule and a parser say of an ONNX file for a target.

    Args:
        axes: ranges of its free axes.
        on: address of the place whose parser is asked; this machine's by default.

    Raises:
        InputError: it is not there, damaged, or no valid ONNX for another reason than an operator that its opset lacks;
            or a range is of no free axis.
        UnservedError: engines of the target do not run at that place.
        EngineFailedError: the parser crashed on it.
    """
    try:
        graph = read_graph(path, axes)
    except InputError as error:
        if not path.is_file() or not (findings := by_rules(path, target, axes, OF_INVALID)):
            raise
        said = Parsed(gap=f"No parser and no other rule was asked: {error.message}")
    else:
        need_free(axes or {}, {size for spec in graph.inputs for size in spec.shape if isinstance(size, str)})
        place = _place(target, on)
        findings, said = by_rules(path, target, axes, place=place), parsed(graph, target, place)
    parser = f"{said.by}, which stands in for {target.backend}" if said.stands_in else said.by
    known = {one.node for one in findings if one.severity == "error"}
    findings += tuple(_refused(one, parser, said.where) for one in said.rejections if one.node not in known)
    return LintReport(
        model=path.name,
        target=target.name,
        toolchain=target.toolchain.name,
        findings=tuple(sorted(findings, key=lambda one: one.severity != "error")),
        parser=f"{parser} {said.where}".strip(),
        unparsed=said.gap,
    )


def by_rules(
    path: Path,
    target: Target,
    axes: Mapping[str, AxisRange] | None = None,
    names: Sequence[str] | None = None,
    place: Place | None = None,
) -> tuple[Finding, ...]:
    """What the rules alone find, for one who asks a parser anyway.

    Args:
        names: of the rules to ask; None is all.
        place: whose compiler judges the graph as well, where it has the target's own; this machine by default.

    Raises:
        InputError: the file is damaged.
    """
    from .examined import examine

    examined = examine(path, target, dict(axes or {}), own_parser=has_own_parser(target, place or Local()))
    return tuple(_found(examined, RULES.names() if names is None else names))


def _place(target: Target, on: str | None) -> Place:
    return Local() if on is None else engine_place(target, on=on)


def _found(examined: Examined, names: Iterable[str]) -> Iterator[Finding]:
    for name in names:
        for finding in cast(Rule, RULES.load(name))(examined):
            yield replace(finding, rule=name)


def _refused(rejection: Rejection, parser: str, where: str) -> Finding:
    return Finding(
        severity="error",
        node=rejection.node,
        operator=rejection.operator,
        said=rejection.reason,
        remedy="Replace it in the model, or choose a target whose runtime takes it.",
        source=f"The parser of {parser}, asked {where or 'on this machine'}.",
        rule=PARSER,
    )
