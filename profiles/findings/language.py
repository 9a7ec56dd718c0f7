"""What is known of a decoder: how fast it writes, what it needs, and what its text lost; each with how it was got."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..timing.measurement import Interval, Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Median:
    """The median of some samples and its 95 % interval, in the unit that its owner says."""

    value: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, found: Measurement) -> Median:
        """Of latencies, in milliseconds. At least two samples."""
        interval = _interval(found)
        return cls(value=interval.value, low=interval.low, high=interval.high, count=len(found.samples))

    @classmethod
    def rate(cls, found: Measurement, tokens: int = 1) -> Median:
        """Tokens a second, of latencies in which so many tokens each are computed."""
        interval = _interval(found)
        value, low, high = (1e3 * tokens / ms for ms in (interval.value, interval.high, interval.low))
        return cls(value=value, low=low, high=high, count=len(found.samples))

    def __str__(self) -> str:
        digits = 1 if self.value >= 10 else 2
        return f"{self.value:,.{digits}f} [{self.low:,.{digits}f}, {self.high:,.{digits}f}]"


def _interval(found: Measurement) -> Interval:
    interval = found.interval(50)
    if interval is None:
        raise ValueError(f"{len(found.samples)} samples have no median with an interval")
    return interval


@dataclass(frozen=True, slots=True, kw_only=True)
class AtDepth:
    """What was timed behind a prompt of so many tokens.

    Attributes:
        depth: tokens of the prompt.
        written: tokens that were written behind it, the first among them.
        prefill: tokens of the prompt a second, from the call until the first token is there.
        decode: tokens written a second, from the first token to the last: the first one is not among them.
        first_token: milliseconds from the call until the first token is there.
    """

    depth: int
    written: int
    prefill: Median
    decode: Median
    first_token: Median

    @classmethod
    def of(cls, depth: int, written: int, first: Measurement, token: Measurement) -> AtDepth:
        """From raw latencies.

        Args:
            first: from each call to its first token.
            token: of each run the mean from its first token to its last, for one token.
        """
        return cls(
            depth=depth,
            written=written,
            prefill=Median.rate(first, depth),
            decode=Median.rate(token),
            first_token=Median.of(first),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast it reads a prompt and writes text.

    Attributes:
        depths: ascending, at least one.
        processes: fresh ones that it was measured in.
        how: what ran and was timed, a sentence.
        unsteady: why the figures are not the machine's own, a clause; empty where nothing disturbed them.
    """

    depths: tuple[AtDepth, ...]
    threads: int
    processes: int
    how: str
    unsteady: str = ""

    @property
    def slowest(self) -> AtDepth:
        """The depth at which it writes slowest: what a budget of speed is held against."""
        return min(self.depths, key=lambda one: one.decode.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes that a decoder needs in memory, the measured apart from the computed.

    Attributes:
        weights: of the engine's files, computed from them.
        read: of the weights, those that are read for each token: of an embedding that is no head, one row.
        context: positions that the cache is reckoned for.
        cache: of keys and values at that context, computed.
        peak: resident bytes of the process at most, measured; None where it did not run.
        peak_depth: tokens that the cache held at that time.
        how: how each was got, a sentence.
    """

    weights: int
    read: int
    context: int
    cache: int
    how: str
    peak: int | None = None
    peak_depth: int = 0

    @property
    def cache_token(self) -> float:
        """Bytes of the cache for one position, where it grows with each."""
        return self.cache / self.context if self.context else 0.0

    @property
    def full(self) -> int:
        """Bytes at the full context: what was measured and the rest of the cache, or what can be computed."""
        if self.peak is None:
            return self.weights + self.cache
        rest = self.cache_token * max(0, self.context - self.peak_depth)
        return max(self.peak + math.ceil(rest), self.cache + self.read)

    def read_at(self, depth: int) -> int:
        """Bytes that one token behind so many others reads: weights, and keys and values of those before it."""
        return self.read + round(self.cache_token * min(depth, self.context))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """How far writing is from what the memory allows.

    Attributes:
        machine: bytes a second that this machine reads, measured: the best of some passes.
        token: bytes that one token reads at the depth of `decode`, computed from the files.
        decode: tokens a second that were measured.
        how: how the machine's was measured.
    """

    machine: float
    token: int
    decode: float
    how: str

    @property
    def limit(self) -> float:
        """Tokens a second, if nothing but reading took time."""
        return self.machine / self.token

    @property
    def share(self) -> float:
        """Of the limit, that was reached; above 1 where a cache holds part of what is read."""
        return self.decode / self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """How much larger a perplexity is, with the 95 % interval of the paired difference."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TextParity:
    """What is written against what FP32 would write, on real text.

    Attributes:
        text: which, in words.
        tokens: predictions that were compared.
        agreement: share of them in which the most likely token is the same.
        kl: mean Kullback-Leibler divergence of the engine's prediction from FP32's, nats a token.
        before, after: perplexity of FP32 and of the engine, exp of the mean loss in nats a token.
        rise: `after - before`.
        how: what ran.
        written: tokens that are written greedily, `same` how many of them, from the first on, FP32 writes as well, and
            `own` how many its own weights hold likeliest in torch; None where that was not asked.
    """

    text: str
    tokens: int
    agreement: float
    kl: float
    before: float
    after: float
    rise: Rise
    how: str
    written: int | None = None
    same: int | None = None
    own: int | None = None

    @property
    def share(self) -> float:
        """By what share the perplexity rose."""
        return self.rise.value / self.before

    @property
    def said(self) -> str:
        """The perplexities, one clause."""
        low, high = self.rise.low / self.before, self.rise.high / self.before
        return f"{self.before:.2f} to {self.after:.2f}, {self.share:+.1%} [{low:+.1%}, {high:+.1%}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBits:
    """One matrix: how its weights are stored.

    Attributes:
        grid: as a person says it, `int4 in blocks of 32`, or a float type.
        weights: how many.
        bytes: on disk, scales and zeros among them.
        why: what decided it; may be empty.
    """

    layer: str
    grid: str
    weights: int
    bytes: int
    why: str = ""

    @property
    def bits(self) -> float:
        """Of storage for one weight."""
        return 8 * self.bytes / self.weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Bits:
    """Every matrix in order, and how the grids were chosen, a sentence."""

    layers: tuple[LayerBits, ...]
    how: str

    @property
    def mean(self) -> float:
        """Bits of storage for one weight, over all."""
        return 8 * sum(one.bytes for one in self.layers) / sum(one.weights for one in self.layers)

    def by_grid(self) -> dict[str, tuple[int, int, int]]:
        """(matrices, weights, bytes) of each grid, the one with most weights first."""
        found: dict[str, tuple[int, int, int]] = {}
        for one in self.layers:
            count, weights, held = found.get(one.grid, (0, 0, 0))
            found[one.grid] = (count + 1, weights + one.weights, held + one.bytes)
        return dict(sorted(found.items(), key=lambda pair: -pair[1][1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedMethod:
    """Something that was tried to lose less.

    Attributes:
        name: for people, `AWQ`.
        before, after: the loss without and with it, in the unit that `measure` says; None where it was not measured.
        measure: what the two are, as `KL, nats a token`.
        kept: it is in what is shipped.
        why: what decided it, a clause.
    """

    name: str
    kept: bool
    why: str
    measure: str = ""
    before: float | None = None
    after: float | None = None

    @property
    def gain(self) -> str:
        """What it gained, for people."""
        if self.before is None or self.after is None:
            return "not measured"
        change = f" ({self.after / self.before - 1:+.1%})" if self.before else ""
        return f"{self.before:.4g} to {self.after:.4g}{change}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """Everything that is known of a decoder in a bundle, or of one that was profiled; None is not known.

    Attributes:
        context: positions that it takes.
        vocabulary: tokens that it knows.
        device: bytes of the target's memory; None where it does not state them.
        calibration: the text that it was calibrated on, a sentence; empty where none was needed.
        missing: what was not done, and why, a clause.
    """

    context: int
    vocabulary: int
    speed: Speed | None = None
    memory: Footprint | None = None
    bandwidth: Bandwidth | None = None
    parity: TextParity | None = None
    bits: Bits | None = None
    tried: tuple[TriedMethod, ...] = ()
    device: int | None = None
    calibration: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)


def rows(found: Language) -> Iterator[tuple[str, str, str]]:
    """(what, FP32, shipped), as the table of a report has them."""
    if (parity := found.parity) is not None:
        low, high = parity.rise.low / parity.before, parity.rise.high / parity.before
        rise = f"{parity.after:.2f}, {parity.share:+.1%} [{low:+.1%}, {high:+.1%}]"
        yield "perplexity", f"{parity.before:.2f}", rise
        yield "same most likely token", "", f"{parity.agreement:.1%} of {parity.tokens:,}"
        yield "KL divergence", "", f"{parity.kl:.4f} nats a token"
        if parity.written is not None and parity.same is not None:
            yield "greedy tokens as FP32's, from the first on", "", f"{parity.same} of {parity.written}"
    if (bits := found.bits) is not None:
        yield "bits a weight, scales included", "32", f"{bits.mean:.2f}"
    if (speed := found.speed) is not None:
        unsteady = " (unstable)" if speed.unsteady else ""
        for one in speed.depths:
            yield f"prefill of {one.depth:,} tokens", "", f"{one.prefill} tok/s{unsteady}"
            yield f"decode behind {one.depth:,} tokens", "", f"{one.decode} tok/s{unsteady}"
        first = speed.depths[0]
        yield f"time to first token, {first.depth:,} tokens", "", f"{first.first_token} ms{unsteady}"
    if (bandwidth := found.bandwidth) is not None:
        yield "of what the memory's bandwidth allows", "", f"{bandwidth.share:.0%}"


def paired_rise(before: Sequence[float], after: Sequence[float], tokens: Sequence[int]) -> Rise:
    """The rise of a perplexity over windows of text that both models read, resampled in pairs.

    A window is hard or easy for both: of two intervals one would learn little. A percentile bootstrap over windows
    (Efron 1979), widened by sqrt(n/(n-1)) as for few samples (Hesterberg 2015).

    Args:
        before, after: loss of each window, the sum in nats.
        tokens: predictions of each window; at least two windows.
    """
    first, second, sizes = (np.asarray(values, dtype=np.float64) for values in (before, after, tokens))
    if not len(first) == len(second) == len(sizes) >= 2:
        raise ValueError(f"{len(first)} and {len(second)} losses of {len(sizes)} windows; expected two or more of each")
    drawn = np.random.default_rng(0).integers(0, len(sizes), (2000, len(sizes)))
    counts = sizes[drawn].sum(1)
    rises = np.exp(second[drawn].sum(1) / counts) - np.exp(first[drawn].sum(1) / counts)
    value = float(np.exp(second.sum() / sizes.sum()) - np.exp(first.sum() / sizes.sum()))
    low, high = (np.percentile(rises, [2.5, 97.5]) - value) * math.sqrt(len(sizes) / (len(sizes) - 1)) + value
    return Rise(value=value, low=min(value, float(low)), high=max(value, float(high)))
