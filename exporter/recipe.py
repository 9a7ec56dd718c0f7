"""What the user asks of an export, apart from the model and the targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from ..backends.base import AxisRange
from ..calibration.images import Fit, Reading
from ..errors import InputError
from ..profiles.budget.budget import REGRESSION, Budget
from ..profiles.device.precision import PrecisionName, load_precision
from ..profiles.device.target import Target
from ..profiles.machine.environment import MOST_THREADS
from ..profiles.reading.names import need_text
from ..profiles.reading.values import MOST_WHOLE

# Neighbours that the runtimes' kernels let share a scale.
BLOCKS = (16, 32, 64, 128, 256)


# The largest side of an image that an engine may be asked to take.
MOST_SIDE = 1 << 14

# Limits, beside those of latencies, that need a measurement.
_TIMED = ("speedup", "decode", "prefill", "first_token")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """Settings of recovery and distillation.

    Attributes:
        epochs: passes over the training data at most.
        learning_rate: AdamW's highest, reached after the warm-up; a cosine takes it to 0 at the last step.
        weight_decay: AdamW's, of weights with two axes or more; biases and norms have none.
        warmup: share of all steps in which the rate rises, 0..1.
        temperature: of soft labels (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015).
        teacher_weight: share of the teacher in the loss where the data have labels too, 0..1.
        features: modules whose outputs follow the teacher's: `NAME`, or `STUDENT=TEACHER` where the names differ.
        feature_weight: of all of them together, beside the loss above.
        patience: epochs without a better `evaluate()` after which training stops.

    Raises:
        InputError: a value out of its range.
    """

    epochs: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    temperature: float = 4.0
    teacher_weight: float = 0.9
    features: tuple[str, ...] = ()
    feature_weight: float = 1.0
    patience: int = 5

    def __post_init__(self) -> None:
        """Refuse what would train nothing, or nonsense."""
        for name, low in (("epochs", 0), ("patience", 1)):
            if (value := getattr(self, name)) < low:
                raise InputError(f"{_option(name)} is {value}; expected a whole number of at least {low}.")
        for name in ("learning_rate", "temperature"):
            if not (math.isfinite(value := getattr(self, name)) and value > 0):
                raise InputError(f"{_option(name)} is {value}; expected a number above 0.")
        for name in ("warmup", "teacher_weight"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise InputError(f"{_option(name)} is {value}; expected a share, 0 to 1.")
        for name in ("weight_decay", "feature_weight"):
            if not (math.isfinite(value := getattr(self, name)) and value >= 0):
                raise InputError(f"{_option(name)} is {value}; expected 0 or more.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSettings:
    """How the weights of a decoder are rounded.

    Attributes:
        block: neighbours of a row that share a scale, 16 to 256; None leaves it to the search.
        symmetric: zero is in the middle of the integers; None leaves it to the search.
        rounding: `data` from what the layers take when they read text, `nearest` from the weights alone, which is fast.
        uniform: every matrix has the same grid, as far as one was asked for; limits then judge, and choose nothing.

    Raises:
        InputError: a block that no runtime has.
    """

    block: Literal[16, 32, 64, 128, 256] | None = None
    symmetric: bool | None = None
    rounding: Literal["data", "nearest"] = "data"
    uniform: bool = False

    def __post_init__(self) -> None:
        """Refuse what only a type checker minds."""
        if self.block not in (None, *BLOCKS):
            raise InputError(f"`block` is {self.block}; expected one of {', '.join(map(str, BLOCKS))}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessSettings:
    """What turns the bytes of an image into what the network takes, for models that bring no `preprocess()`.

    Attributes:
        input: the network's input that takes the image; not needed where only one can.
        size: height and width of the images that the engine takes; none is the network's own, and nothing is resized.
        layout: of the images: `NHWC` as cameras, PIL and OpenCV have them, or `NCHW`.
        colors: order of the channels in the bytes: `RGB` as PIL reads them, `BGR` as OpenCV does.
        network_colors: order of the channels that the network was trained with.
        resize: `stretch` to the network's size, `letterbox` into it with `fill` around, or `crop` its middle out of an
            image that covers it.
        interpolation: `bilinear` as OpenCV's INTER_LINEAR, `bicubic` as its INTER_CUBIC, or `nearest` as INTER_NEAREST.
        fill: value around a letterboxed image, 0..255.
        divide: what each byte is divided by first; 255 gives 0..1.
        mean: of each channel in the network's order, taken off after that; one for all, or none.
        std: likewise what is divided by last.

    Raises:
        InputError: a value out of its range.
    """

    input: str | None = None
    size: tuple[int, int] | None = None
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    colors: Literal["RGB", "BGR"] = "RGB"
    network_colors: Literal["RGB", "BGR"] = "RGB"
    resize: Literal["stretch", "letterbox", "crop"] = "stretch"
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    fill: Annotated[int, Ge(0), Le(255)] = 114
    divide: float = 255.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no image has, and what divides by zero."""
        if self.size is not None and not (len(self.size) == 2 and all(0 < side <= MOST_SIDE for side in self.size)):
            raise InputError(
                f"preprocess: size is {list(self.size)}; expected [height, width], of 1 to {MOST_SIDE} pixels each."
            )
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (0, 1, 3):
                raise InputError(
                    f"preprocess: {name} has {len(getattr(self, name))} values; expected 1, or 3 by channel."
                )
        if not all(math.isfinite(value) and value > 0 for value in (self.divide, *self.std)):
            raise InputError("preprocess: divide and std must be numbers above 0; bytes are divided by them.")
        if not 0 <= self.fill <= 255:
            raise InputError(f"preprocess: fill is {self.fill}; expected a byte, 0 to 255.")


def reading_of(fit: Fit | None, preprocess: PreprocessSettings | None) -> Reading:
    """How pictures are read for an engine whose recipe says this of them."""
    if preprocess is None:
        return Reading(fit=fit)
    return Reading(fit=fit or preprocess.resize, fill=preprocess.fill, bgr=preprocess.colors == "BGR")


def _option(name: str) -> str:
    return f"training: {name.replace('_', '-')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Settings of an export; the defaults are what most users want.

    Attributes:
        precision: `auto` is the fastest of those that keep the accuracy, int8 among them where the target has it and
            calibration data exist.
        calibration: path of calibration data, of a decoder a text; None leaves it to the model file's `calibration()`.
        fit: what is done with pictures of calibration data that have another size than the engine takes: `stretch`,
            `letterbox` or `crop`; None is `resize` of `[preprocess]`, and refuses them where there is none.
        contact_sheet: path of a picture to write, outside of the bundle, that shows what pictures were read.
        statistics: path of calibration statistics, instead of data.
        all_samples: read all data even when the ranges have settled before.
        workers: processes that calibrate, 1..1024.
        ranges: range method, or `auto`.
        lifts: accuracy lifts to try; None is all of them.
        rungs: what int8 may climb to where it misses what is asked, the least costly first; None is all of them.
        qat: train int8 itself on `training()`, whatever else would do.
        exclude: node names, operator types or shell patterns of either that stay float.
        axes: ranges of free axes; the others are 1 : the example's size : 8 times that.
        minimum_sqnr_db: agreement below which nothing is shipped; None is the precision's own `least_db`.
        budget: what the bundle may cost, by the names that `--budget` knows: latency_p90, size, accuracy_drop and more.
            A limit of accuracy_drop decides which layers stay float; a search is led by all of them.
        prune: share of the model's MACs to remove before capture, 0..1; None prunes nothing.
        pruned: units that groups keep, by their names in the report, as `"stem.conv1" = 24`, 0 for a block that goes
            whole. An export that prunes writes what it chose; with these, `prune` chooses nothing and applies them.
        importance: what makes a channel worth keeping: a name of `pruning.importance`, or `auto`.
        keep: modules that pruning leaves alone: names or shell patterns.
        sparse: 2:4 sparsity, for targets that run it faster.
        distill: ship `student()` of the model file, trained against `model()`.
        training: how a student, a model that was pruned, or int8 itself is trained.
        weights: how the weights of a decoder are rounded.
        preprocess: what turns images in bytes into the network's input, as part of the engine, where the model brings
            no `preprocess()`.
        measure: measure latency where the engine runs on this machine.
        threads: intra-op threads of every runtime, 1..1024; None is the cores this process may use.
        seed: of all synthetic inputs, and of training; 0 or more, of 63 bits.
    """

    precision: str = "auto"
    calibration: str | None = None
    fit: Literal["stretch", "letterbox", "crop"] | None = None
    contact_sheet: str | None = None
    statistics: str | None = None
    all_samples: bool = False
    workers: Annotated[int, Ge(1), Le(MOST_THREADS)] = 1
    ranges: str = "auto"
    lifts: tuple[str, ...] | None = None
    rungs: tuple[str, ...] | None = None
    qat: bool = False
    exclude: tuple[str, ...] = ()
    axes: Mapping[str, AxisRange] = field(default_factory=dict)
    minimum_sqnr_db: float | None = None
    budget: Budget = field(default_factory=Budget)
    prune: Annotated[float, Gt(0), Lt(1)] | None = None
    pruned: Mapping[str, Annotated[int, Ge(0)]] = field(default_factory=dict)
    importance: str = "auto"
    keep: tuple[str, ...] = ()
    sparse: bool = False
    distill: bool = False
    training: TrainingSettings = field(default_factory=TrainingSettings)
    weights: WeightSettings = field(default_factory=WeightSettings)
    preprocess: PreprocessSettings | None = None
    measure: bool = True
    threads: Annotated[int, Ge(1), Le(MOST_THREADS)] | None = None
    seed: Annotated[int, Ge(0), Le(MOST_WHOLE)] = 0

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            InputError: naming the settings.
        """
        if not isinstance(self.budget, Budget):  # limits as people write them, which only a type checker minds
            object.__setattr__(self, "budget", Budget.parse(self.budget))
        if self.minimum_sqnr_db is not None and not self.minimum_sqnr_db >= 0:
            raise InputError(
                f"`minimum_sqnr_db` is {self.minimum_sqnr_db:g}; below 0 dB the noise is larger than the signal.",
                hint="Give 0 or more, or ship another precision.",
            )
        if not 0 <= self.seed <= MOST_WHOLE:
            raise InputError(f"`seed` is {self.seed}; expected a whole number, 0 to {MOST_WHOLE}.")
        if self.calibration is not None and self.statistics is not None:
            raise InputError("`calibration` and `statistics` were both given; int8 is made from one of them.")
        need_text(self.calibration or self.statistics or "")
        if self.distill and self.prune is not None:
            raise InputError("`distill` and `prune` were both given; a student is shipped as student() makes it.")
        if self.pruned and self.prune is None:
            raise InputError("`pruned` has widths, and `prune` is missing: the share of the MACs that they remove.")
        timed = [name for name in self.budget.limits if name.startswith("latency") or name in _TIMED]
        if timed and not self.measure:
            also = ", which `max_latency` sets," if timed[0].startswith("latency") else ""
            raise InputError(f"`{timed[0]}`{also} needs a measurement, and measuring is switched off (`measure`).")
        if relative := [name for name in self.budget.limits if name.endswith(REGRESSION)]:
            raise InputError(f"`{relative[0]}` is against a baseline, which a recipe does not have: use --budget.")

    def least_sqnr_db(self, precision: PrecisionName) -> float:
        """The agreement with FP32 that is asked, in dB.

        Of int8 it is asked of calibration samples and, with 95 % confidence, of others of the kind; of half precisions
        of calibration samples alone; of FP32 of golden inputs (`least_golden_db`).
        """
        return load_precision(precision).least_db if self.minimum_sqnr_db is None else self.minimum_sqnr_db

    def least_golden_db(self, precision: PrecisionName) -> float:
        """The agreement an engine of this precision must reach on the golden inputs."""
        least, enough = self.least_sqnr_db(precision), load_precision(precision).golden_db
        return least if enough is None else min(enough, least)


def choose_precision(recipe: Recipe, target: Target, *, has_data: bool) -> tuple[PrecisionName, str]:
    """The precision to build, and what the reader must know about that choice (may be empty).

    Raises:
        InputError: a precision the target does not have, or one that is made from calibration data without any.
    """
    lacking = [name for name in target.precisions if load_precision(name).needs_data and not has_data]
    able = [name for name in target.precisions if name not in lacking]
    if recipe.precision == "auto" and able:
        return able[0], _not_made(lacking) if lacking else ""
    chosen = target.precisions[0] if recipe.precision == "auto" else recipe.precision
    if chosen not in target.precisions:
        raise InputError(
            f"Target {target.name} has no {chosen}; it runs {', '.join(target.precisions)}.",
            hint="Choose one of these with --precision, or another --target.",
        )
    if chosen in lacking:
        raise InputError(
            f"{chosen} needs calibration data, and there are none.",
            hint="Add calibration() to the model file, or give --calibration PATH or --statistics FILE.",
        )
    return chosen, ""


def _not_made(names: Sequence[str]) -> str:
    were = "was" if len(names) == 1 else "were"
    return f"{' and '.join(names)} {were} not made: no calibration(), --calibration or --statistics was given."
