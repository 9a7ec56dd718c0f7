"""Prove what was built: golden outputs, and which kernels ran."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...backends.base import Backend, Engine, Session
from ...backends.places.reference import emulated, emulator
from ...errors import VerificationError
from ...profiles.device.target import Target
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.layers import Coverage, Layer, coverage, untimed
from ...profiles.findings.parity import Parity, worst
from ...profiles.machine.environment import this_machine
from ..capture.golden import Golden
from ..draft import Draft
from ..progress import Advance


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """What answers for the engine on this machine.

    Attributes:
        itself: it is the engine, not the graph on another runtime.
        on_device: it is the engine on the architecture it is for.
    """

    backend: Backend
    engine: Engine
    itself: bool
    on_device: bool

    @property
    def how(self) -> str:
        """What ran, in words."""
        if not self.itself:
            return f"model.onnx run by {self.backend.name}, not the engine"
        return "the engine" if self.on_device else f"the engine, on {platform.machine()} instead of the device"


def run(draft: Draft, advance: Advance) -> Draft:
    """Compare with the golden outputs, and read the int8 coverage from the runtime.

    Raises:
        VerificationError: the engine does not reach the least agreement with the FP32 model.
    """
    assert draft.golden is not None
    runner = runner_of(draft)
    session = open_session(draft, runner)
    parity = check_golden(draft.golden, session, draft.recipe.least_golden_db(draft.precision))
    proof = golden_evidence(parity, runner.backend.available().version, runner.how, on_device=runner.on_device)
    draft = replace(
        draft, parity_how=runner.how, evidence=(*draft.evidence, proof), **draft.with_parity("engine", parity)
    )
    return _coverage(draft, runner, advance)


def runner_of(draft: Draft) -> Runner:
    """The engine where it runs here, else the graph on the emulator."""
    if draft.engine is not None and draft.backend.available().run:
        return Runner(backend=draft.backend, engine=draft.engine, itself=True, on_device=is_device(draft.target))
    assert draft.graph is not None
    engine = emulated(draft.graph, draft.precision)
    return Runner(backend=emulator(), engine=engine, itself=False, on_device=False)


def is_device(target: Target) -> bool:
    """Whether this machine has the architecture of the target."""
    return target.arch in ("any", platform.machine())


def open_session(draft: Draft, runner: Runner) -> Session:
    """The runner's session, shared by the stages."""
    return draft.sessions.get(runner.backend, runner.engine, draft.target, draft.threads)


def check_golden(golden: Golden, session: Session, least_db: float) -> dict[str, Parity]:
    """Run the golden inputs and compare with the FP32 outputs.

    Raises:
        VerificationError: an output does not reach `least_db` of SQNR; its figures are given.
    """
    parity = golden.compare(session)
    bad = [f"output {name!r}: {found}" for name, found in parity.items() if found.sqnr_db < least_db]
    if bad:
        raise VerificationError(
            f"The engine does not reach the {least_db:g} dB of agreement with the FP32 model that the golden inputs "
            f"ask for: {'; '.join(bad)}.",
            hint="Leave the layers that hurt in float with --exclude, give more calibration data, or lower --min-sqnr.",
        )
    return parity


def tolerance(draft: Draft) -> float:
    """What the bundle must reach on its device, in dB, on the golden inputs."""
    return lenient(draft.recipe.least_golden_db(draft.precision), draft.parity["engine"])


def lenient(least_db: float, seen: Mapping[str, Parity]) -> float:
    """6 dB below what was seen here, at most 40, at least the minimum.

    6 dB is noise of twice the amplitude: another CPU's kernels round differently, a wrong graph is much further off.
    """
    return max(least_db, min(worst(seen).sqnr_db - 6.0, 40.0))


def golden_evidence(parity: Mapping[str, Parity], tool: str, how: str, *, on_device: bool) -> Evidence:
    """The statement that the golden outputs were reproduced."""
    return Evidence(
        claim=f"Golden outputs reproduced by {how}, worst output {worst(parity)}",
        kind="measured" if on_device else "emulated",
        tool=tool,
        machine=str(this_machine()),
    )


def _coverage(draft: Draft, runner: Runner, advance: Advance) -> Draft:
    """The layers as the runtime compiled them, and how many of them run integer kernels."""
    if not runner.itself:
        if draft.precision != "int8":
            return draft
        why = "the engine is not built here" if draft.not_built else draft.backend.available().reason
        return draft.without("coverage", f"int8 coverage was not read: {why}.")
    assert draft.golden is not None
    layers = runner.backend.inspect(runner.engine, draft.target, draft.golden.feeds[0])
    draft = replace(draft, layers=layers if runner.on_device else untimed(layers))
    return replace(draft, coverage=_explained(coverage(layers), draft.left)) if draft.precision == "int8" else draft


def _explained(found: Coverage, left: Mapping[str, str]) -> Coverage:
    """Where the runtime gives no reason, the quantizer's own: it knows which nodes it left float."""
    return replace(found, left=tuple(replace(layer, reason=_reason(layer, left)) for layer in found.left))


def _reason(layer: Layer, left: Mapping[str, str]) -> str:
    own = [reason for node, reason in left.items() if node == layer.name or node in layer.name.split(",")]
    return own[0] if own else layer.reason
