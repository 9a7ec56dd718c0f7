"""The proof that a captured graph computes what it was captured from: the first link, on made-up inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...backends.base import Array, Feed, Graph
from ...backends.places import GraphValues, Reference
from ...errors import InputError, VerificationError
from ...profiles.findings.parity import NotFiniteError, Parity, parity
from ..graphs.files import read_model
from ..graphs.not_finite import not_finite
from ..graphs.not_numbers import constants_not_numbers
from ..graphs.selection import selected_rows
from ..graphs.synthesis import synthesize
from ..sources import Predict, Source, torch_predict
from ..sources.traceback import user_traceback
from .from_torch.fast_path import is_padding
from .original import Original
from .output_axes import refuse_other_axes
from .own_rounding import LEAST_COSINE, LEAST_SQNR_DB, amplified, explains, own_rounding
from .preprocessing import before_file

# Float32 kernels of two runtimes differ by rounding, about 1e-6 a layer; a wrong graph is off by far more than this.
TOLERANCE = 1e-3
# What is below this is rounding of what is larger inside, however small the output.
ROUNDING = 1e-5
_STATE = "Look for randomness, state or Python branches on values in the model's forward."
_OURS = (
    "Look for operators of random numbers in the file. Where there are none, what brings it to the target's opset "
    "changed its meaning: export it at another opset (17 to 20 are used most), and report this as a fault of edgepress."
)
_MADE_UP_FILE = (
    "Values are made up. Give calibration data, whose ranges they then have; a parameter that never varies there, as a "
    "shape, keeps its value."
)
_MADE_UP_WHOLE = "Whole numbers are made up; where they are places in another input, give calibration data. "
PADDING = (
    "The model's own zeros at the padding make the difference: nn.TransformerEncoder writes them in eval() alone. Give "
    "it enable_nested_tensor=False, which computes what training saw, or multiply its result by the mask."
)
_PROVEN_ON = "the proof's inputs"
_MEANT = (
    "They have the example's means, deviations, ranges, lengths and filled parts of masks, and nothing else that its "
    "inputs may mean. Let the model bear that: add a large negative number to masked scores instead of -inf, compute "
    "masks from lengths, keep logarithms, roots and divisors from zero."
)
_AMPLIFIES = (
    "Load trained weights where these are random, which amplify most. Else look in forward for differences of large "
    "numbers, norms of what hardly varies, and sines or exponentials of large numbers."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a graph was captured from, run on this CPU.

    Attributes:
        given: the ONNX file, open; None where the source is a torch module.
        predict: what it computes of a feed of the whole, preprocessing in front of a file included.
    """

    source: Source
    given: Original | None
    predict: Predict

    @classmethod
    def of(cls, source: Source, directory: Path) -> Origin:
        """Open it.

        Args:
            directory: for copies of a file, where they are needed.

        Raises:
            InputError: onnxruntime does not load the file, or reads it otherwise than ONNX says.
        """
        if source.onnx is None:
            return cls(source=source, given=None, predict=torch_predict(source))
        given = Original.of(source.onnx, directory)
        return cls(source=source, given=given, predict=_behind(source, given.values))

    def as_written(self) -> Predict | None:
        """The file without what onnxruntime fuses, behind the same preprocessing; None where there is no file."""
        return None if self.given is None else _behind(self.source, self.given.as_written())


def _behind(source: Source, values: Predict) -> Predict:
    """A file's values behind the preprocessing that is in front of it, which torch computes."""
    before = source.before
    return values if before is None else lambda feed: values(before_file(before, feed))


def prove_capture(source: Source, graph: Graph, seed: int, origin: Origin | None = None) -> dict[str, Parity]:
    """Compare the graph with what it was captured from, by output name, on the CPU.

    The feeds are the example, a synthetic one of its shape, and synthetic ones with the free axes at their smallest
    size and at up to twice the usual one. The reference is the torch module, or the ONNX file that was given.

    Args:
        origin: of the source, where it is open.

    Raises:
        VerificationError: they disagree, or the model gives NaN or Inf.
        InputError: the model itself fails at a size that its free axes are said to have.
    """
    run = _onnx_predict(Reference().values(graph.path))
    origin = origin or Origin.of(source, graph.path.parent)
    feeds, given = proof_feeds(source, graph, seed), origin.given
    references = [_reference(origin.predict, feed, graph, source) for feed in feeds]
    refuse_other_axes(graph, feeds, references)
    if given is not None:
        given.prove(feeds[0] if source.before is None else before_file(source.before, feeds[0]), references[0])
    rows = selected_rows(graph)
    answers = [run(feed) for feed in feeds]
    try:
        found = parity(references, answers, rows=rows)
    except NotFiniteError as error:
        raise _not_finite(graph, feeds[error.feed], error) from error
    doubted = [name for name, agreement in found.items() if not _agrees(name, agreement, references, graph)]
    own = own_rounding(source, feeds, references, rows) if doubted else {}
    for name in doubted:
        if name not in own or not explains(own[name], found[name]):
            said = _differs(name, found[name], references)
            otherwise = _OURS if given is not None else PADDING if is_padding(source, feeds, answers, name) else _STATE
            raise _unexplained(said, own.get(name), found[name], otherwise)
    return found


def _agrees(name: str, agreement: Parity, references: Sequence[Mapping[str, Array]], graph: Graph) -> bool:
    """Whether it is as close as two float32 are.

    Raises:
        VerificationError: the model gives NaN or Inf.
    """
    # An infinity may be meant, as in masked scores; the graph then has it in the same place.
    nan = next((index for index, reference in enumerate(references) if np.isnan(reference[name]).any()), None)
    if nan is not None or not np.isfinite(agreement.max_abs):
        made = "inputs that were made up to look like the example, which itself gives numbers" if nan else ""
        raise VerificationError(
            f"Output {name!r} of the model itself holds NaN or Inf on {made or _PROVEN_ON}; nothing can be compared.",
            hint=_MEANT if made else _to_look_at(graph),
        )
    return is_close(agreement, allowed_difference(name, references))


def _to_look_at(graph: Graph) -> str:
    """Where NaN or Inf may come from: the first weight that holds some, where one does."""
    for one in constants_not_numbers(read_model(graph.path).graph):
        return f"Its weight {one.name!r} {one.said}: training diverged, or the file is damaged. Mend it, export again."
    return "Look at the model's weights and at its example inputs."


def is_close(agreement: Parity, allowed: float) -> bool:
    """Whether two float32 are as close, of which the largest difference allowed is that."""
    exact = agreement.weakest_db >= LEAST_SQNR_DB or agreement.max_abs <= ROUNDING
    return agreement.max_abs <= allowed and agreement.cosine >= LEAST_COSINE and exact


def allowed_difference(name: str, references: Sequence[Mapping[str, Array]]) -> float:
    """The largest difference that an output may have in float32, by its largest value."""
    wide = [np.abs(reference[name].astype(np.float64)) for reference in references]
    return TOLERANCE * max(1.0, *(float(r[np.isfinite(r)].max(initial=0.0)) for r in wide))


def _not_finite(graph: Graph, feed: Feed, error: NotFiniteError) -> VerificationError:
    """With the node that makes it, where the graph has one that shows it."""
    seen = not_finite(graph.path, feed)
    return VerificationError(
        f"The captured graph does not compute what the model does: {error.message}{'' if seen is None else f' {seen}'}",
        hint=error.hint if seen is None or not seen.remedy else seen.remedy,
    )


def _differs(name: str, agreement: Parity, references: Sequence[Mapping[str, Array]]) -> str:
    allowed = allowed_difference(name, references)
    return (
        f"Output {name!r} of the captured graph differs from the model's: {agreement} "
        f"(allowed: difference {allowed:.3g}, cosine {LEAST_COSINE}, SQNR {LEAST_SQNR_DB:g} dB)."
    )


def _unexplained(said: str, own: Parity | None, found: Parity, otherwise: str) -> VerificationError:
    """With the reason, where the model's own rounding is that; else with the hint for others."""
    if own is None or not amplified(own, found):
        return VerificationError(said, hint=otherwise)
    return VerificationError(
        f"{said} The model amplifies the rounding of float32: its own answers in float32 and in float64 "
        f"agree to {own.weakest_db:.1f} dB.",
        hint=_AMPLIFIES,
    )


class ModelFailsError(InputError):
    """The model itself does not run at sizes or values that it is said to take, whatever exporter captured it."""


def proof_feeds(source: Source, graph: Graph, seed: int) -> list[Feed]:
    """What a graph and its model are compared on."""
    usual = {} if _allowed(source, graph) else {name: reach.usual for name, reach in graph.axes.items()}
    sizes = [
        usual,
        {name: reach.smallest for name, reach in graph.axes.items()},
        # Twice keeps whatever the size must be divisible by.
        {name: min(reach.largest, 2 * reach.usual) for name, reach in graph.axes.items()},
    ]
    distinct = [size for i, size in enumerate(sizes) if size not in sizes[:i]]
    synthetic: list[Feed] = [
        synthesize(source.inputs, source.dynamic, size, seed + i, source.held) for i, size in enumerate(distinct)
    ]
    return [source.inputs, *synthetic] if _allowed(source, graph) else synthetic


def _allowed(source: Source, graph: Graph) -> bool:
    """Whether the example has sizes that its axes are said to have; another range may have been asked for."""
    given = ((n, source.inputs[tensor].shape[a]) for tensor, axes in source.dynamic.items() for a, n in axes.items())
    return all(graph.axes[n].smallest <= size <= graph.axes[n].largest for n, size in given if n in graph.axes)


def _reference(original: Predict, feed: Feed, graph: Graph, source: Source) -> dict[str, Array]:
    try:
        return original(feed)
    except InputError:
        raise
    except Exception as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in feed.items())
        ranges = ", ".join(f"{name}={r.smallest}:{r.usual}:{r.largest}" for name, r in graph.axes.items())
        raise ModelFailsError(
            f"The model fails on inputs of the shapes {shapes}, which its free axes allow "
            f"({ranges or 'none'}).\n{user_traceback(error)}",
            hint=_indices(feed, graph, source)
            + (_MADE_UP_WHOLE if _unseen_whole(source) else "")
            + "Narrow the range of the axis with --axis NAME=MIN:USUAL:MAX, or do not declare it free."
            if ranges
            else _MADE_UP_FILE
            if source.onnx is not None
            else "Shapes are those of the example, values are made up within its range; forward must run with them.",
        ) from error


def _unseen_whole(source: Source) -> bool:
    """Whether a file takes whole numbers, of which no data show what they are."""
    return source.onnx is not None and any(array.dtype.kind in "iu" for array in source.inputs.values())


def _indices(feed: Feed, graph: Graph, source: Source) -> str:
    """What to do where whole numbers may be places along a free axis that is shorter here; else nothing."""
    whole = {n: int(array.max()) for n, array in source.inputs.items() if array.dtype.kind in "iu" and array.size}
    free = [(n, axis, name) for n, axes in source.dynamic.items() for axis, name in axes.items() if name in graph.axes]
    for name, highest in whole.items():
        for other, axis, of in free:
            reach = graph.axes[of]
            if other != name and feed[other].shape[axis] <= highest < reach.largest:
                range_ = f"{highest + 1}:{max(reach.usual, highest + 1)}:{reach.largest}"
                return (
                    f"{name!r} is made up of whole numbers up to {highest}; where these are places along {of!r}, which "
                    f"is {feed[other].shape[axis]} here, try --axis {of}={range_}. "
                )
    return ""


def _onnx_predict(values: GraphValues) -> Predict:
    def predict(feed: Feed) -> dict[str, Array]:
        try:
            return values(feed)
        except Exception as error:  # whatever the runtime raises
            shapes = ", ".join(f"{name} {array.shape}" for name, array in feed.items())
            raise VerificationError(
                f"The captured graph fails on inputs of the shapes {shapes}: {error}",
                hint="A size that must stay free was fixed: narrow the axis with --axis, or do not declare it free.",
            ) from error

    return predict
