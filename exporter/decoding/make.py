"""Make one precision of a decoder: weights, engine, and the proof of both on text."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ...backends.decoding import Tokens
from ...backends.places import Place
from ...errors import InputError, VerificationError
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.fit import device_memory
from ...profiles.findings.gap import Gap, joined
from ...profiles.findings.language import Language, TextParity
from .candidate import TextCandidate
from .compile import Made, finished, require
from .digest import Digesting
from .grids import why_none
from .metric import metric
from .proof import proven_text, said_by_weights, same_as_library, same_as_reference, same_as_weights, same_with_cache
from .room import need_room
from .rounding import Rounding, roundings
from .speed import memory_of, need_memory
from .task import TextTask
from .writing import FEW_WRITTEN, WRITTEN, WrittenText, by_engine, by_library


def made(task: TextTask) -> TextCandidate:
    """The smallest that holds what is asked.

    Raises:
        InputError: the runtime does not have such a decoder, or such weights, or a disk is too small.
        RefusedError: it does not fit into the device.
        VerificationError: none holds it, or an engine does not compute what its weights say.
        UnservedError: it can be built neither here nor on the device.
    """
    if why := task.form.why_not(task.source.decoder, task.target):
        raise InputError(f"Target {task.target.name} cannot run {task.source.name}: {why}.")
    require(task)
    need_memory(task)
    need_room(task)
    tried: list[str] = []
    search = roundings(task)
    rounding = next(search, None)
    while rounding is not None:
        candidate = _through(task, rounding)
        if not (why := _lost_too_much(task, candidate)):
            notes = tuple(f"Not shipped: {one}." for one in tried)
            return replace(
                candidate, missing=joined(candidate.missing, _untried(task)), notes=(*candidate.notes, *notes)
            )
        tried.append(f"{rounding.title}: {why}")
        _drop(candidate)
        rounding = _after(search, candidate.parity)
    raise VerificationError(
        f"{task.source.name} loses more than it may: {'; '.join(tried)}.",
        hint="Allow more with --max-drop, or leave the choice to --precision auto.",
    )


def _drop(candidate: TextCandidate) -> None:
    """Make room for the next one."""
    for file in (candidate.engine, candidate.graph):
        if file is not None:
            shutil.rmtree(file.path.parent)


def _untried(task: TextTask) -> tuple[Gap, ...]:
    """Precisions that the target does not have, where they would have been chosen among."""
    why = why_none(task)
    return (Gap(about="precision", why=f"{why}."),) if why else ()


def _after(search: Generator[Rounding, TextParity, None], parity: TextParity) -> Rounding | None:
    """What is tried next; None where there is nothing."""
    try:
        return search.send(parity)
    except StopIteration:
        return None


def _lost_too_much(task: TextTask, candidate: TextCandidate) -> str:
    """Why it may not be shipped, a clause; empty where it may."""
    parity, found = candidate.parity, candidate.task
    if task.drop is not None and found is not None and not task.drop.allows(found.before, found.after):
        return f"evaluate() {found.before:.4f} to {found.after:.4f}, where a drop of {task.drop} was the most"
    if task.rise is None or parity.rise.value <= task.rise.bound(parity.before):
        return ""
    return f"perplexity {parity.said}, where a rise of {task.rise} was the most"


def _through(task: TextTask, rounding: Rounding) -> TextCandidate:
    """Every step, in order."""
    source, target = task.source, task.target
    memory = memory_of(rounding.weights.grids, task)
    need_room(task, sum(layer.bytes for layer in rounding.rounded.bits.layers))
    directory = Path(tempfile.mkdtemp(prefix=f"{rounding.precision}-engine-", dir=task.scratch))
    weights = Digesting(weights=rounding.weights)
    with task.step(f"{rounding.title}, written") as advance:
        written = task.form.write(
            source.decoder,
            weights,
            directory,
            target=target,
            tokenizer=source.tokenizer,
            advance=lambda share: advance(share, ""),
        )
    candidate = _proven(task, finished(task, written, rounding.precision, weights.digest), rounding)
    return replace(
        candidate,
        rounded=replace(rounding.rounded, digest=weights.digest),
        language=replace(candidate.language, memory=memory, device=device_memory(target)),
        notes=(*source.notes, *written.notes, *candidate.notes),
    )


def _proven(task: TextTask, made: Made, rounding: Rounding) -> TextCandidate:
    """The candidate, whose engine answered to text, or its graph where that runs elsewhere.

    Raises:
        VerificationError: it does not compute what its weights say, or the library makes something else of it.
    """
    judge, golden = task.judges
    place = made.place
    with task.step(f"{rounding.title}, proven"):
        # One after the other: whatever is open holds all weights, and two of them would not fit where one does.
        text = _text(task, made, golden.windows[0])
        said, before = said_by_weights(task.source, rounding, golden, text)
        own, same = same_as_weights(rounding, text, before), same_as_reference(task.source, text)
        with place.decode(made.runs, task.threads) as decoding:
            parity = judge.parity(judge.told(decoding), place.how(task.target))
            written, strays = proven_text(rounding, golden, said, decoding, itself=place.itself)
            if made.graph is not None:  # no library opens it, which would read behind its cache
                same_with_cache(written, decoding)
            elif not text.why_not:
                same_as_library(decoding, text, made.runs.precision)
            found = metric(task, decoding, place.how(task.target))
    parity = replace(parity, written=len(text.tokens), same=same, own=own)
    return TextCandidate(
        precision=rounding.precision,
        rounded=rounding.rounded,
        target=made.target,
        engine=made.engine,
        graph=made.graph,
        not_built=made.not_built,
        size=made.size,
        parity=parity,
        golden=written,
        task=found,
        language=_language(task, parity, rounding),
        evidence=(*made.evidence, *_evidence(task, place, parity, strays)),
        missing=joined(made.missing, _not_written(text)),
        notes=made.notes,
    )


def _text(task: TextTask, made: Made, window: Tokens) -> WrittenText:
    """What it writes behind the first half of a window, by the library where there is one."""
    context, most = task.source.decoder.context, FEW_WRITTEN if task.brief else WRITTEN
    text = None
    if made.graph is None:
        text = by_library(made.runs, window, context, task.threads, most=most, readings=task.readings)
    if text is not None and text.tokens:
        return text
    with made.place.decode(made.runs, task.threads) as decoding:
        alone = by_engine(decoding, window, context, most=most)
    return replace(alone, why_not=text.why_not if text is not None else "")


def _not_written(text: WrittenText) -> tuple[Gap, ...]:
    said = (Gap(about="run", why=text.why_not), Gap(about="other", why=text.misread, subject="tokenizer"))
    return tuple(gap for gap in said if gap.why)


def _language(task: TextTask, parity: TextParity, rounding: Rounding) -> Language:
    decoder, rounded = task.source.decoder, rounding.rounded
    return Language(
        context=decoder.context,
        vocabulary=decoder.vocabulary,
        parity=parity,
        bits=rounded.bits,
        tried=rounded.tried,
        calibration=rounded.calibration,
    )


def _evidence(task: TextTask, place: Place, parity: TextParity, strays: float) -> Iterator[Evidence]:
    tool, machine = place.tool(task.target), str(place.machine)
    what: Literal["engine", "graph"] = "engine" if place.itself else "graph"
    for claim in (
        f"On {parity.tokens:,} tokens of {parity.text}: perplexity {parity.said}.",
        f"The {what} is {strays:.5f} nats a token from what its own weights say in torch.",
        f"Of {parity.written} tokens that it writes greedily FP32 writes the first {parity.same} as well, and its own "
        f"weights hold {parity.own} likeliest in torch.",
    ):
        yield Evidence(about=what, claim=claim, kind=place.evidence(task.target), tool=tool, machine=machine)
