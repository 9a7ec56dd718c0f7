"""Compile the graph for the target, or put into the bundle what the device needs to do it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from ...backends.base import Backend, Engine, Graph, Rejection
from ...backends.registry import load_backend
from ...errors import RefusedError
from ...profiles.device.target import Precision, Target
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.report import Sizes
from ...profiles.machine.environment import this_machine
from ..draft import Draft, Rival
from ..graphs.files import weight_bytes
from ..progress import Advance
from .measure import unmeasured
from .quantize import float_graph


def run(draft: Draft, advance: Advance) -> Draft:
    """Fill `engine/`: the engine where this machine can compile it, the device's build files otherwise."""
    assert draft.graph is not None and draft.reference is not None
    (draft.directory / "engine").mkdir()
    weights = Sizes(weights_fp32=weight_bytes(draft.reference.path), weights=weight_bytes(draft.graph.path))
    graph, draft = draft.graph, replace(draft, sizes=weights)
    if why := draft.backend.obstacle(draft.target):
        return _for_device(draft, graph, why)
    draft = _taken_over(draft) if draft.precision in draft.rivals else _here(draft, graph)
    return _with_rivals(draft, advance)


def _here(draft: Draft, graph: Graph) -> Draft:
    refuse(draft.backend.check(graph, draft.target), draft.target.name)
    return _with_engine(draft, draft.backend.compile(graph, draft.target, draft.directory / "engine", draft.precision))


def _taken_over(draft: Draft) -> Draft:
    """The rival's engine, which was compiled from the same graph, as this bundle's."""
    engine = draft.rivals[draft.precision].engine
    directory = draft.directory / "engine"
    shutil.copytree(engine.path.parent, directory, dirs_exist_ok=True)
    return _with_engine(draft, replace(engine, path=directory / engine.path.name))


def _with_engine(draft: Draft, engine: Engine) -> Draft:
    built = Evidence(
        claim=f"{engine.path.name} was compiled for {draft.target.name}",
        kind="built",
        tool=draft.backend.available().version,
        machine=str(this_machine()),
    )
    assert draft.sizes is not None
    notes = engine.notes
    if not draft.backend.deterministic:
        notes = (*notes, f"The compiler of {draft.backend.name} is not deterministic: two builds may differ in bytes.")
    sizes = replace(draft.sizes, engine=directory_bytes(draft.directory / "engine"))
    return replace(draft, engine=engine, sizes=sizes, evidence=(*draft.evidence, built), notes=(*draft.notes, *notes))


def best_float(draft: Draft) -> Precision:
    """The float that the runtime is fastest in: a half precision of the target, else what it chooses by itself here."""
    halves = [p for p in draft.target.precisions if p not in ("int8", "fp32")]
    return halves[0] if halves else draft.backend.native_float(draft.target)


def _with_rivals(draft: Draft, advance: Advance) -> Draft:
    """The FP32 engine, to compare with, and the one in the runtime's best float where it can be measured here."""
    rivals = dict(draft.rivals)
    if draft.precision != "fp32" and "fp32" not in rivals:
        advance(None, "FP32, to compare with")
        rivals["fp32"] = _rival(draft, "fp32")
    best = best_float(draft)
    if draft.precision == "int8" and best not in rivals and not unmeasured(draft):
        advance(None, f"{best}, to compare with")
        rivals[best] = _rival(draft, best)
    assert draft.sizes is not None
    size = draft.sizes.engine if draft.precision == "fp32" else rivals["fp32"].size
    return replace(draft, rivals=rivals, sizes=replace(draft.sizes, engine_fp32=size))


def _rival(draft: Draft, precision: Precision) -> Rival:
    directory = draft.scratch / f"{precision}-engine"
    directory.mkdir()
    graph = float_graph(draft, precision)
    engine = draft.backend.compile(graph, draft.target, directory, precision)
    return Rival(graph=graph, engine=engine, size=directory_bytes(directory))


def _for_device(draft: Draft, graph: Graph, reason: str) -> Draft:
    """The files that let the device build; `Backend.require` has made sure that there are some."""
    files = draft.backend.recipe_files(graph, draft.target, draft.precision)
    for name, text in files.items():
        path = draft.directory / "engine" / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    why = f"not built here, because {reason}"
    absent = Evidence(
        claim=f"The engine is {why}",
        kind="absent",
        tool=draft.backend.name,
        machine=str(this_machine()),
    )
    draft = replace(draft, not_built=why, evidence=(*draft.evidence, absent))
    todo = f"The engine is {why}. Copy the bundle to the device and run there: edgepress build {draft.bundle}"
    return _stand_in(draft.without("engine", todo), graph)


def _stand_in(draft: Draft, graph: Graph) -> Draft:
    """Let a related parser judge the graph where the target's own is not here."""
    name = draft.target.toolchain.stand_in
    stand_in: Backend | None = load_backend(name) if name else None
    if stand_in is None or not stand_in.available().compile:
        return draft.without("parser", f"No parser judged the graph: {name or 'a stand-in'} is not installed here.")
    refuse(stand_in.check(graph, draft.target), draft.target.name, by=f" (by the parser of {name})")
    accepted = Evidence(
        claim=f"The parser of {name} accepts model.onnx, as a stand-in for {draft.backend.name} on the device",
        kind="emulated",
        tool=stand_in.available().version,
        machine=str(this_machine()),
    )
    return replace(draft, evidence=(*draft.evidence, accepted))


def refuse(rejections: tuple[Rejection, ...], target: Target | str, by: str = "") -> None:
    """Raise when the target's compiler refuses nodes.

    Raises:
        RefusedError: naming each node and the reason.
    """
    if rejections:
        listed = "\n".join(f"  {rejection}" for rejection in rejections[:10])
        more = f"\n  and {len(rejections) - 10} more" if len(rejections) > 10 else ""
        raise RefusedError(
            f"Target {target} refuses {len(rejections)} node(s) of the graph{by}:\n{listed}{more}",
            hint="Replace the operator in the model, or choose a target that has it.",
        )


def directory_bytes(directory: Path) -> int:
    """Total size of the files in a directory."""
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
