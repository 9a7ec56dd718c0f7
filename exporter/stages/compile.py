"""Compile the graph for the target, or put into the bundle what the device needs to do it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...backends.base import Backend, Graph, Rejection
from ...backends.registry import load_backend
from ...errors import InputError
from ...profiles.environment import this_machine
from ...profiles.evidence import Evidence
from ...profiles.report import Sizes
from ...profiles.target import Target
from ..draft import Draft
from ..graphs import weight_bytes
from ..progress import Advance


def run(draft: Draft, advance: Advance) -> Draft:
    """Fill `engine/`: the engine where this machine can compile it, the device's build files otherwise."""
    assert draft.graph is not None and draft.reference is not None
    (draft.directory / "engine").mkdir()
    weights = Sizes(weights_fp32=weight_bytes(draft.reference.path), weights=weight_bytes(draft.graph.path))
    graph, draft = draft.graph, replace(draft, sizes=weights)
    if why := draft.backend.obstacle(draft.target):
        return _for_device(draft, graph, why)
    return _reference(_here(draft, graph))


def _here(draft: Draft, graph: Graph) -> Draft:
    refuse(draft.backend.check(graph, draft.target), draft.target.name)
    directory = draft.directory / "engine"
    engine = draft.backend.compile(graph, draft.target, directory, draft.precision)
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
    sizes = replace(draft.sizes, engine=directory_bytes(directory))
    return replace(draft, engine=engine, sizes=sizes, evidence=(*draft.evidence, built), notes=(*draft.notes, *notes))


def _reference(draft: Draft) -> Draft:
    """The FP32 graph on the same runtime, to compare with; for an FP32 export it is the engine itself."""
    assert draft.reference is not None and draft.sizes is not None
    if draft.precision == "fp32":
        return replace(draft, reference_engine=draft.engine, sizes=replace(draft.sizes, engine_fp32=draft.sizes.engine))
    directory = draft.scratch / "fp32-engine"
    directory.mkdir()
    engine = draft.backend.compile(draft.reference, draft.target, directory, "fp32")
    return replace(draft, reference_engine=engine, sizes=replace(draft.sizes, engine_fp32=directory_bytes(directory)))


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
        InputError: naming each node and the reason.
    """
    if rejections:
        listed = "\n".join(f"  {rejection}" for rejection in rejections[:10])
        more = f"\n  and {len(rejections) - 10} more" if len(rejections) > 10 else ""
        raise InputError(
            f"Target {target} refuses {len(rejections)} node(s) of the graph{by}:\n{listed}{more}",
            hint="Replace the operator in the model, or choose a target that has it.",
        )


def directory_bytes(directory: Path) -> int:
    """Total size of the files in a directory."""
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
