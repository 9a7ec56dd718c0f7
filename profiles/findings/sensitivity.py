"""Which layers int8 hurts, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNoise:
    """What int8 of one layer alone does, the rest of the model in float.

    Attributes:
        layer: the node's name.
        tensor: which of its two hurts the model's output more, `activation` or `weight`.
        own_db: SQNR of the layer's own output, in dB; inf where nothing was lost.
        output_db: SQNR of the model's worst output, in dB.
        share: of the noise that all layers together add to the model's output, 0..1.
        why: what makes it so, with figures.
        left: it is left in float.
    """

    layer: str
    operator: str
    tensor: str
    own_db: float
    output_db: float
    share: float
    why: str
    left: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One evaluation: the layers at the head of the ranking in float, the others in int8.

    Attributes:
        left: how many layers were in float.
        predicted_db: SQNR of the worst output that the noise of single layers predicts, in dB.
        sqnr_db: what was found on the calibration samples, with ranges of others where there are enough.
        assured_db: what that is on other samples of the kind as well, with 95 % confidence: what is required is asked
            of it. None in reports of before.
        metric: the user's metric, None where it was not asked for.
        holds: what is required holds.
    """

    left: int
    predicted_db: float
    sqnr_db: float
    metric: float | None
    holds: bool
    assured_db: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """The ranking, worst layer first, and the search along it.

    Attributes:
        required: what was asked for, in words.
        samples: calibration samples that each layer was judged on.
        probes: runs of those samples, each with one place rounded.
        elsewhere: share of the noise that comes from what belongs to no layer: sums and pools between them.
        trials: the evaluations, in order.
    """

    layers: tuple[LayerNoise, ...]
    required: str
    samples: int
    probes: int
    elsewhere: float
    trials: tuple[Trial, ...]

    @property
    def left(self) -> tuple[str, ...]:
        """The layers that are left in float, worst first."""
        return tuple(layer.layer for layer in self.layers if layer.left)

    @property
    def held(self) -> bool:
        """Whether what was required held in any evaluation."""
        return any(trial.holds for trial in self.trials)

    @property
    def reached_db(self) -> float:
        """The SQNR of what is shipped, as it was judged in the search."""
        return next(trial.sqnr_db for trial in self.trials if trial.left == len(self.left))

    @property
    def summary(self) -> str:
        """What was left in float, and what it took to find out, one clause."""
        if not self.held:
            return f"no choice of layers was enough ({_counted(len(self.trials), 'evaluation')})"
        first, last = self.trials[0], next(trial for trial in self.trials if trial.left == len(self.left))
        gain = f"{first.sqnr_db:.1f} dB" if not self.left else f"{first.sqnr_db:.1f} to {last.sqnr_db:.1f} dB"
        count, evaluations = len(self.left), len(self.trials)
        return f"{_counted(count, 'layer')} ({gain}, {_counted(evaluations, 'evaluation')})"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerParity:
    """A layer of the int8 graph: SQNR of its output in dB, inf where nothing was lost."""

    layer: str
    operator: str
    sqnr_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityByLayer:
    """What has become of each layer's output, with everything before it rounded as well, in the order of the graph.

    The rounding is that of int8, the arithmetic float: the engine's kernels may differ in the last bit.

    Attributes:
        samples: that it was judged on.
    """

    layers: tuple[LayerParity, ...]
    samples: int


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
