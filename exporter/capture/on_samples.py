"""The first link on the user's own samples: silence, black frames and the like are in no made-up input.

Each sample is judged for itself, so that a loud one hides no silent one. What is refused on made-up inputs is refused
here as well, but for what two float32 differ by: that is the model's own, and is said.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...backends.base import Array, Feed, Graph
from ...calibration.feeds import outputs_by_sample
from ...errors import EdgepressError, InputError, VerificationError
from ...profiles.findings.evidence import Evidence
from ...profiles.findings.gap import Gap
from ...profiles.findings.parity import NotFiniteError, Parity, is_codes, parity
from ...profiles.findings.rows import Rows
from ...profiles.machine.environment import installed
from ..graphs.not_finite import not_finite
from ..graphs.selection import selected_rows
from ..sources import Predict
from ..sources.traceback import user_traceback
from .from_torch.fast_path import is_padding
from .own_rounding import LEAST_COSINE, LEAST_SQNR_DB, exact_answers, is_alike
from .proof import PADDING, ROUNDING, TOLERANCE, Origin, allowed_difference, is_close

# Whole batches until there are so many: what a graph gets wrong of real values it does so in most of them, and each is
# run by the model once more.
PROVEN_ON = 8
CALIBRATION, MADE_UP = "calibration", "made-up"
# float32 tells numbers apart by this share of them.
_LAST_BIT = 2.0**-23
_BRANCHES = (
    "Look for Python branches on values in the model's forward, which a graph takes one way (torch.where takes both). "
    "Where there are none, report this as a fault of edgepress. A way out is the ONNX file of torch.onnx.export, given "
    "in the model's place."
)
_OURS = (
    "What edgepress makes of the file computes something else there: report this as a fault of edgepress. A way out is "
    "the file at another opset (17 to 20 are used most), or the same written with other operators."
)
Replies = Sequence[Mapping[str, Array]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnSamples:
    """What a captured graph and its model answer to the first calibration samples.

    Attributes:
        feeds: whole batches.
        answers: the graph's.
        samples: how many those are.
        kind: `calibration`; or `made-up`, with the values of statistics.
        parity: of the sample that is furthest off, by output.
        missing: what is to be said of outputs where both differ for reasons of the model's own.
    """

    feeds: Sequence[Feed]
    answers: Replies
    samples: int
    kind: str
    parity: Mapping[str, Parity]
    missing: tuple[Gap, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Outputs that are compared together: of one sample or row where that can be told, else of a batch; codes of all.

    Attributes:
        of: which samples, in words.
        axes: the outputs, and along which axis of each its row lies.
        batches: indices of the batches, and the row of one of them; None is all rows.
    """

    of: str
    axes: Mapping[str, int]
    batches: tuple[int, ...]
    row: int | None = None

    def cut(self, answers: Replies) -> list[dict[str, Array]]:
        """Its part of what was answered."""
        some = slice(None) if self.row is None else slice(self.row, self.row + 1)
        at = {n: ... if self.row is None else (slice(None),) * axis + (some,) for n, axis in self.axes.items()}
        return [{name: answers[index][name][where] for name, where in at.items()} for index in self.batches]

    def parity(self, right: Replies, found: Replies, sets: Sequence[Rows]) -> dict[str, Parity]:
        """Of two answers in this part."""
        return parity(self.cut(right), self.cut(found), rows=sets if self.row is None else ())


def proven_on_samples(
    origin: Origin, graph: Graph, feeds: Sequence[Feed], run: Predict, kind: str = CALIBRATION
) -> OnSamples:
    """Hold what the graph answers against its model.

    Args:
        feeds: calibration data.
        run: the graph, open.
        kind: what they are, as `OnSamples` has it.

    Raises:
        VerificationError: they disagree, by more than the model's own rounding explains.
        InputError: the model itself fails at them.
    """
    given = [_reference(origin.predict, feed) for feed in feeds]
    answers = [_answer(run, feed) for feed in feeds]
    references, found, blanks = _without_nan(given, answers)
    sets = selected_rows(graph)
    gaps = [Gap(about="other", subject=f"NaN {name}", why=_blank(name, count, kind)) for name, count in blanks.items()]
    proof = _Proof(
        origin=origin, graph=graph, feeds=feeds, kind=kind, given=given, references=references, found=found, sets=sets
    )
    worst, doubts = proof.judged()
    told = [Gap(about="other", subject=f"float32 {name}", why=why) for name, why in doubts.items()]
    samples = sum(map(graph.samples.count, feeds))
    return OnSamples(feeds=feeds, answers=answers, samples=samples, kind=kind, parity=worst, missing=(*gaps, *told))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proof:
    """The comparison.

    Attributes:
        kind: what the feeds are, as `OnSamples` has it.
        given: what the model answered.
        references, found: what the model and the graph answered, with zeros where the model's is NaN.
        sets: outputs that are sets of rows.
    """

    origin: Origin
    graph: Graph
    feeds: Sequence[Feed]
    kind: str
    given: Replies
    references: Replies
    found: Replies
    sets: tuple[Rows, ...]

    def judged(self) -> tuple[dict[str, Parity], dict[str, str]]:
        """The parity of each output's worst piece, and what is to be said of outputs."""
        worst: dict[str, Parity] = {}
        doubted: list[tuple[_Piece, str, Parity]] = []
        for piece in self._pieces():
            for name, seen in self._parity(piece).items():
                worst[name] = min(worst.get(name, seen), seen, key=lambda one: one.weakest_db)
                if not self._is_close(piece, name, seen):
                    doubted.append((piece, name, seen))
        doubted.sort(key=lambda one: one[2].weakest_db)
        others = self._others() if doubted else []
        told: dict[str, str] = {}
        for piece, name, seen in doubted:
            own = self._own(piece, name, others)
            if not self._is_own(name, seen, own):
                raise self._differs(piece, name, seen, own)
            told.setdefault(name, self._said(piece, name, seen, own))
        return worst, told

    def _pieces(self) -> Iterator[_Piece]:
        among = {name for one in self.sets for name in one.outputs}
        names = self.references[0].keys() - among
        codes = {name for name in names if is_codes(self.references[0][name])}
        samples = outputs_by_sample(self.graph, self.feeds, self.references)
        single = {name: axis for name, axis in samples.items() if name in names - codes}
        parted = self._by_row() & names - codes - single.keys()
        whole = dict.fromkeys(self.references[0].keys() - codes - single.keys() - parted, 0)
        first = 0
        for index, answer in enumerate(self.references):
            batch, count = f"batch {index} of the {self.kind} data", self.graph.samples.count(self.feeds[index])
            for row in range(count if single else 0):
                yield _Piece(of=f"{self.kind} sample {first + row}", axes=single, batches=(index,), row=row)
            for name in parted:
                for row in range(len(answer[name])):
                    yield _Piece(of=f"row {row} of {batch}", axes={name: 0}, batches=(index,), row=row)
            if whole:
                yield _Piece(of=batch, axes=whole, batches=(index,))
            first += count
        if codes:
            every = tuple(range(len(self.feeds)))
            yield _Piece(of=f"the first {self.kind} samples", axes=dict.fromkeys(codes, 0), batches=every)

    def _by_row(self) -> set[str]:
        """Outputs whose rows are those of an input, as nodes of a graph or steps of time: a loud one hides others."""
        given = {s.shape[0]: s.name for s in self.graph.inputs if s.shape and isinstance(s.shape[0], str)}
        pairs = list(zip(self.feeds, self.references, strict=True))
        return {
            spec.name
            for spec in self.graph.outputs
            if spec.shape
            and (name := given.get(str(spec.shape[0]))) is not None
            and all(len(found[spec.name]) == len(feed[name]) for feed, found in pairs)
        }

    def _parity(self, piece: _Piece) -> dict[str, Parity]:
        try:
            return piece.parity(self.references, self.found, self.sets)
        except NotFiniteError as error:
            seen = not_finite(self.graph.path, self.feeds[piece.batches[error.feed]])
            raise VerificationError(
                f"The captured graph does not compute what the model does, on {piece.of}: {error.message}"
                f"{'' if seen is None else f' {seen}'}",
                hint=" ".join(text for text in ("" if seen is None else seen.remedy, self._hint) if text),
            ) from error
        except VerificationError as error:
            raise VerificationError(
                f"The captured graph does not compute what the model does, on {piece.of}: {error.message}",
                hint=error.hint or self._hint,
            ) from error

    def _is_close(self, piece: _Piece, name: str, seen: Parity) -> bool:
        """As on made-up inputs; what is rounding beside the largest value of all samples is none of a silent one."""
        allowed = allowed_difference(name, piece.cut(self.references))
        everywhere = ROUNDING / TOLERANCE * allowed_difference(name, self.references)
        return is_close(seen, allowed) or seen.max_abs <= everywhere

    def _others(self) -> list[Replies]:
        """What the model answers by other orders of the same sums; empty where that is not known."""
        written = self.origin.as_written()
        if written is None:
            exact = exact_answers(self.origin.source, self.feeds, self.given)
            return [exact] if exact else []
        nudged = [_nudged(feed, index) for index, feed in enumerate(self.feeds)]
        both = (_answered(written, self.feeds), _answered(self.origin.predict, nudged))
        return [answers for answers in both if answers]

    def _own(self, piece: _Piece, name: str, others: Sequence[Replies]) -> Parity | None:
        """The model against itself, by the order that is furthest from the usual one."""
        found: list[Parity] = []
        for answers in others:
            right, own, _ = _without_nan(answers, self.references)
            with contextlib.suppress(VerificationError):  # other rows, or infinities
                found.append(piece.parity(right, own, self.sets)[name])
        return min(found, key=lambda one: one.weakest_db, default=None)

    def _is_own(self, name: str, seen: Parity, own: Parity | None) -> bool:
        """Whether rounding tells both apart: the model's own, or where it decides a few values."""
        if own is not None and np.isfinite(seen.max_abs) and is_alike(own, seen):
            return True
        if is_codes(self.references[0][name]):
            return self._differing(name) <= 1 or seen.weakest_db >= LEAST_SQNR_DB
        return seen.weakest_db >= LEAST_SQNR_DB and seen.cosine >= LEAST_COSINE and bool(np.isfinite(seen.max_abs))

    def _differing(self, name: str) -> int:
        both = zip(self.references, self.found, strict=True)
        return sum(int((right[name] != found[name]).sum()) for right, found in both)

    def _differs(self, piece: _Piece, name: str, seen: Parity, own: Parity | None) -> VerificationError:
        needed = f"SQNR of {LEAST_SQNR_DB:g} dB and a cosine of {LEAST_COSINE} are needed"
        elsewhere = "made-up inputs" if self.kind == CALIBRATION else "inputs like the example"
        padding = self.origin.given is None and is_padding(self.origin.source, self.feeds, self.found, name)
        return VerificationError(
            f"Output {name!r} of the captured graph differs from the model's on {piece.of}: {seen} ({needed}"
            f"{'' if own is None else f'; {self._apart(own)}'}). On {elsewhere} both agree.",
            hint=PADDING if padding else self._hint,
        )

    @property
    def _hint(self) -> str:
        return _BRANCHES if self.origin.given is None else _OURS

    def _apart(self, own: Parity) -> str:
        how = "in float32 and in float64" if self.origin.given is None else "by another order of the same sums"
        return f"the model's own answers {how} agree to {own.weakest_db:.1f} dB"

    def _said(self, piece: _Piece, name: str, seen: Parity, own: Parity | None) -> str:
        said = f"At output {name!r} the graph differs from the model on {piece.of}: {seen}."
        if own is not None and is_alike(own, seen):
            return (
                f"{said} The model amplifies rounding: {self._apart(own)} there, so that no engine can do better. Load "
                "trained weights where these are random, which amplify most."
            )
        return (
            f"{said} All but a few values are the same: rounding decides those, as beside a threshold, or the graph is "
            "wrong there. Look at them."
        )


def _reference(predict: Predict, feed: Feed) -> dict[str, Array]:
    try:
        return predict(feed)
    except InputError:
        raise
    except Exception as error:
        shapes = ", ".join(f"{name} {array.dtype.name} {array.shape}" for name, array in feed.items())
        raise InputError(
            f"The model itself fails on the calibration data ({shapes}).\n{user_traceback(error)}",
            hint="Give data that the model takes, or mend its forward.",
        ) from error


def _answer(run: Predict, feed: Feed) -> dict[str, Array]:
    try:
        return run(feed)
    except EdgepressError as error:
        raise VerificationError(
            f"The captured graph fails on the calibration data, and the model does not: {error.message}",
            hint="A size that must stay free was fixed: narrow the axis with --axis, or do not declare it free.",
        ) from error


def _answered(run: Predict, feeds: Sequence[Feed]) -> Replies:
    """Nothing where it does not run."""
    try:
        return [run(feed) for feed in feeds]
    except Exception:  # whatever the runtime raises
        return []


def _without_nan(references: Replies, answers: Replies) -> tuple[Replies, Replies, dict[str, int]]:
    """Both with zeros where the reference is NaN, and how many values that are, by output."""
    right, found, count = [dict(one) for one in references], [dict(one) for one in answers], dict[str, int]()
    for one, other in zip(right, found, strict=True):
        for name, array in one.items():
            none = np.isnan(array) if array.dtype.kind == "f" else np.zeros(1, bool)
            if none.any():
                count[name] = count.get(name, 0) + int(none.sum())
                one[name] = np.where(none, 0, array)
                if name in other and other[name].shape == array.shape:
                    other[name] = np.where(none, 0, other[name])
    return right, found, count


def _blank(name: str, count: int, kind: str) -> str:
    return (
        f"Output {name!r} of the model itself holds NaN on {kind} samples ({count} values), which were compared "
        "with nothing. Look at the data, and at what the model divides by."
    )


def _nudged(feed: Feed, seed: int) -> Feed:
    """With the last bit of each float32 up or down, which is what any rounding before it may do."""
    rng = np.random.default_rng(seed)

    def nudged(array: Array) -> Array:
        if array.dtype != np.float32:
            return array
        signs = rng.choice(np.array([-1, 1], np.float32), array.shape)
        return np.multiply(array, 1 + _LAST_BIT * signs, dtype=np.float32)

    return {name: nudged(array) for name, array in feed.items()}


def on_samples_evidence(proof: OnSamples, machine: str) -> Evidence:
    """What was seen, for the report.

    Args:
        machine: in words.
    """
    least = min(found.weakest_db for found in proof.parity.values())
    of = "equal to the bit" if least == np.inf else f"{least:.1f} dB of SQNR at the worst output of the worst sample"
    return Evidence(
        about="graph",
        claim=f"The graph was held against the model on {_named(proof)}: {of}",
        kind="emulated",
        tool=f"onnxruntime {installed('onnxruntime')}",
        machine=machine,
    )


def _named(proof: OnSamples) -> str:
    if proof.kind == CALIBRATION:
        return f"the first {proof.samples} calibration samples"
    return f"{proof.samples} samples made up with values of the statistics"
