"""The third link of a candidate's proof: the engine against the graph that it was compiled from, on the same samples.

The first link is torch against the captured graph, the second the captured graph against the candidate's. A compiler
may fuse wrongly, or read a graph otherwise than ONNX means it: then both links hold, and the engine is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from ....backends.base import Array, Feed, Session
from ....backends.places import Place
from ....errors import VerificationError
from ....profiles.device.precision import load_precision
from ....profiles.device.target import Target
from ....profiles.findings.decided import least_of_codes_db
from ....profiles.findings.evidence import Evidence
from ....profiles.findings.parity import NotFiniteError, Parity, figure, is_codes, needed, worst
from ...quantization.gains import held_by, tells_less
from ...quantization.judging import JudgingSamples
from ..candidate import Candidate

# What rounding explains. 6 dB is noise of twice the amplitude: another runtime's kernels round at other places of the
# same graph. Beyond ENOUGH_DB two runtimes are told apart by how they add up, not by what they compute.
EXPLAINED_DB, ENOUGH_DB = 6.0, 40.0


HINT = "Ship another precision with --precision, or leave layers near that output in float with --exclude."
HINT_FLOAT = "Ship another precision with --precision."
# Of classes and places, which are compared with each other and not as amounts.
PLACES = (
    "Where values lie closer than the precision tells apart, as in ties, their places change. Return the values "
    "as well and choose outside of the model, or lower --min-sqnr: 20 asks for 96.8% agreement."
)
STRAYS = "The {} engine does not compute what its own graph does"
FALLS_SHORT = "The {} engine does not reach what was asked"
# What is known of the cause, by whether the runtime is asked for arithmetic that its graph does not say.
NARROW = "Rounding at other places than the graph's explains that: the graph has no margin for it."
MISREAD = "The compiler read or fused the graph wrongly."
TOO_COARSE = "Its graph does not reach that either: {} is too coarse for what the model computes of these samples."
COARSE = "In {} the runtime rounds where the graph does not say: the model may not bear that, or the compiler erred."


# What a gap about samples beyond the first is called.
_MORE_SAMPLES = "more samples"


class StrayingError(VerificationError):
    """An engine computes something else than its graph.

    Attributes:
        candidate: whose engine it is.
        feed: on which it does, where that is not on samples.
        too_coarse: its graph falls short as well, so that no place in the engine is to blame.
    """

    def __init__(
        self,
        candidate: Candidate,
        message: str,
        *,
        hint: str | None = None,
        feed: Feed | None = None,
        too_coarse: bool = False,
    ) -> None:
        """Keep the candidate and the feed, for who looks for the cause."""
        super().__init__(message, hint=hint)
        self.candidate, self.feed, self.too_coarse = candidate, feed, too_coarse


def linked(
    candidate: Candidate,
    session: Session,
    samples: JudgingSamples,
    place: Place,
    target: Target,
    asked_db: float,
    how: str = "",
) -> Candidate:
    """The candidate, whose engine was held against its own graph.

    Args:
        candidate: with the parity of its graph on the samples.
        session: the engine, open.
        asked_db: what is asked of the precision on samples, in dB of SQNR.
        how: in what form the engine answered, where that is not its own, as the end of a sentence.

    Raises:
        StrayingError: the engine is further from FP32 than its graph, by more than rounding explains.
        VerificationError: it is further than the precision allows at all.
    """
    engine = samples.compare([session(feed) for feed in samples.feeds], candidate.graph)
    own = candidate.on_samples
    _refuse_straying(candidate, engine, own, samples, asked_db)
    seen, ours = worst(engine), worst(own)
    claim = (
        f"The engine computes what model.onnx does: worst output {seen.weakest_db:.1f} dB of SQNR against FP32 on "
        f"{samples}, the graph itself {ours.weakest_db:.1f} dB{how}"
    )
    return claimed_of_engine(candidate, claim, place, target)


def with_more(
    candidate: Candidate, session: Session, more: JudgingSamples, place: Place, target: Target, asked_db: float
) -> Candidate:
    """The candidate with what its engine has on more samples than it was judged on; it decides nothing.

    Args:
        session: the engine, open.
        more: those samples.
        asked_db: what is asked of the precision on samples, in dB of SQNR.

    Raises:
        VerificationError: the engine gives what is not finite where FP32 does.
    """
    try:
        seen = more.compare([session(feed) for feed in more.feeds], candidate.graph)
    except VerificationError as error:
        if isinstance(error, NotFiniteError) or isinstance(error.__cause__, NotFiniteError):
            raise
        # Another number of rows, as data select them.
        return candidate.without("other", f"On {more}: {error.message}", _MORE_SAMPLES)
    amounts = {name: found for name, found in seen.items() if not is_codes(more.expected[0][name])}
    least = worst(amounts or seen).weakest_db  # of classes and places alone it is how many agree
    claim = f"The engine on more of them: worst output {least:.1f} dB of SQNR against FP32 on {more}"
    candidate = claimed_of_engine(candidate, claim, place, target)
    short = {name: found for name, found in amounts.items() if _falls_off(candidate.on_samples[name], found, asked_db)}
    if not short:
        return candidate
    name, found = min(short.items(), key=lambda item: item[1].weakest_db)
    why = (
        f"The engine has {found.weakest_db:.1f} dB of SQNR at output {name!r} on {more}, and its graph "
        f"{candidate.on_samples[name].weakest_db:.1f} dB on the first ones, which int8 was judged on.{held_by(found)} "
        "Leave layers near that output in float with --exclude, or ask for more with --min-sqnr."
    )
    return candidate.without("other", why, _MORE_SAMPLES)


def _falls_off(own: Parity, found: Parity, asked_db: float) -> bool:
    return tells_less(own.weakest_db, found.weakest_db) or not found.reaches(asked_db)


def claimed_of_engine(candidate: Candidate, claim: str, place: Place, target: Target) -> Candidate:
    """The candidate with what was seen of its engine at the place."""
    proof = Evidence(
        about="engine",
        claim=claim,
        kind=place.evidence(target),
        tool=place.tool(target),
        machine=str(place.machine),
    )
    return replace(candidate, evidence=(*candidate.evidence, proof))


def graph_held(
    candidate: Candidate, session: Session, samples: JudgingSamples, asked_db: float, where: Callable[[], str]
) -> Candidate:
    """The candidate, whose graph reaches what is asked on the samples, where no engine of it runs.

    Args:
        session: the graph, open.
        where: says in one sentence, with a space before it, where it falls short; asked if it does.

    Raises:
        VerificationError: it does not.
    """
    found = samples.compare([session(feed) for feed in samples.feeds], candidate.graph)
    short = {name: one.weakest_db for name, one in found.items() if not one.reaches(asked_db)}
    if short:
        arrays = {name: samples.expected[0][name] for name in short}
        told = "; ".join(
            f"output {name!r} has {figure(short[name], array)} against FP32 ({needed(asked_db, array)} needed)"
            for name, array in arrays.items()
        )
        raise VerificationError(
            f"{candidate.precision} does not reach what was asked, on {samples}: {told}.{where()}",
            hint=f"{PLACES} {HINT_FLOAT}" if any(map(is_codes, arrays.values())) else HINT_FLOAT,
        )
    return replace(candidate, on_samples=found)


def _refuse_straying(
    candidate: Candidate,
    engine: Mapping[str, Parity],
    own: Mapping[str, Parity],
    samples: JudgingSamples,
    asked_db: float,
) -> None:
    strays = [
        (name, part, seen_db, graph_db, least)
        for name, part, seen_db, graph_db in _parts(engine, own, of_others=load_precision(candidate.precision).integer)
        if seen_db < (least := least_db(candidate, graph_db, asked_db, codes=is_codes(samples.expected[0][name])))
        and not _by_chance(candidate, engine[name], own[name], least)
    ]
    if strays:
        told = "; ".join(
            beside_graph(part, seen_db, graph_db, least, samples.expected[0][name])
            for name, part, seen_db, graph_db, least in strays
        )
        what, cause = _cause(candidate, [one[1:] for one in strays])
        raise StrayingError(
            candidate,
            f"{what.format(candidate.precision)}, on {samples}: {told}. {cause}",
            hint=HINT if load_precision(candidate.precision).integer else HINT_FLOAT,
            too_coarse=cause == TOO_COARSE.format(candidate.precision),
        )


def _by_chance(candidate: Candidate, engine: Parity, graph: Parity, least: float) -> bool:
    """Whether the engine differs by one decision, of what rounds at all."""
    if engine.decided is None or load_precision(candidate.precision).exact:
        return False
    return engine.decided.is_one_more(graph.decided, least)


def beside_graph(part: str, seen_db: float, graph_db: float, least: float, array: Array) -> str:
    """What engine and graph have of an output like the array, and what is needed."""
    if is_codes(array):
        seen, own, least_share = (figure(db, array) for db in (seen_db, graph_db, least))
        return f"{part} has {seen} against FP32, its graph {own} ({least_share} needed)"
    return f"{part} has {seen_db:.1f} dB of SQNR against FP32, its graph {graph_db:.1f} dB ({least:.1f} dB needed)"


def _cause(candidate: Candidate, strays: Sequence[tuple[str, float, float, float]]) -> tuple[str, str]:
    """What is wrong, and what is known of why, from what engine and graph have and what is needed."""
    if all(graph_db < least for _, _, graph_db, least in strays):
        return FALLS_SHORT, TOO_COARSE.format(candidate.precision)
    if rounds_by_itself(candidate):
        return STRAYS, COARSE.format(candidate.precision)
    narrow = all(seen_db >= explained_db(graph_db) for _, seen_db, graph_db, _ in strays)
    return (FALLS_SHORT, NARROW) if narrow else (STRAYS, MISREAD)


def _parts(
    engine: Mapping[str, Parity], own: Mapping[str, Parity], *, of_others: bool
) -> Iterator[tuple[str, str, float, float]]:
    """Each output and each group of its channels: its name, what it is called, and what engine and graph reach, in dB.

    Args:
        of_others: what they reach on other samples of the kind as well.
    """
    for name, seen in engine.items():
        bound = ", as far as is sure of others like them," if of_others and seen.lower_db is not None else ""
        yield name, f"output {name!r}{bound}", _whole(seen, of_others), _whole(own[name], of_others)
        # The groups are those of the expected values, and so the same.
        for group, graphs in zip(seen.groups, own[name].groups, strict=True):
            yield name, f"output {name!r}, {group},", group.sqnr_db, graphs.sqnr_db


def _whole(found: Parity, of_others: bool) -> float:
    return found.lower_db if of_others and found.lower_db is not None else found.sqnr_db


def least_db(candidate: Candidate, graph_db: float, asked_db: float, *, codes: bool = False) -> float:
    """What an engine must reach against FP32 where its graph reaches `graph_db`, in dB of SQNR.

    The reference computes in float32 what a float precision of the runtime's own, such as bf16, rounds at each step: of
    those the graph says nothing. Of what is less exact never less than was asked of the graph itself.

    Args:
        codes: of classes or places.
    """
    precision = load_precision(candidate.precision)
    if rounds_by_itself(candidate):
        return least_of_codes_db(candidate.least_db) if codes else candidate.least_db
    explained = explained_db(graph_db)
    return explained if precision.exact else max(explained, least_of_codes_db(asked_db) if codes else asked_db)


def explained_db(graph_db: float) -> float:
    """Down to what rounding explains where the graph reaches `graph_db`."""
    return min(graph_db - EXPLAINED_DB, ENOUGH_DB)


def rounds_by_itself(candidate: Candidate) -> bool:
    """Whether the runtime rounds more than the graph tells it to, as in bf16."""
    precision = load_precision(candidate.precision)
    return not precision.integer and not precision.exact
