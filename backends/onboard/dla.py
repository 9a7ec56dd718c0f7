"""The Deep Learning Accelerator of some Jetsons: what it takes of a network, and what falls back to the GPU and why."""

import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .orders import BuildError, Order
from .parsing import ParsedNetwork, layers_of, plain
from .settings import weak_flags

_ABSENT = "this module has no DLA that TensorRT {} serves"
# NVIDIA TensorRT 8 Developer Guide, "Working with DLA": it does not take explicit quantization.
_QUANTIZED = "the DLA takes no QuantizeLinear and no DequantizeLinear"
_UNTOLD = "TensorRT does not say why"
# What says only that it falls back, and not why.
_BARE = re.compile(r"falling back to GPU|Switching this layer's device type to GPU", re.IGNORECASE)
_BARE_ALONE = re.compile(
    r"^Default DLA is enabled but layer .* (?:is not supported|is not running) on DLA, falling back to GPU$"
)


class Accelerated(NamedTuple):
    """What became of the wish to use the DLA.

    Attributes:
        core: that the engine is built for; None where it is built for the GPU alone.
        why_not: why there is none, a clause.
        taken: layers that the DLA takes.
        fallen: layers that run on the GPU, with the reason.
    """

    core: Optional[int]
    why_not: str
    taken: List[str]
    fallen: Dict[str, str]


def accelerate(parsed: ParsedNetwork, config: Any, order: Order) -> Optional[Accelerated]:
    """Let the DLA run what it can, the GPU the rest; None where nobody asked for it.

    Raises:
        BuildError: the module has fewer DLA cores than the one that is asked for.
    """
    if order.dla is None:
        return None
    trt, cores = parsed.trt, int(getattr(parsed.builder, "num_DLA_cores", 0))
    if not cores:
        return Accelerated(None, _ABSENT.format(trt.__version__), [], {})
    if order.exact:
        return Accelerated(None, "the DLA computes in FP16 and INT8, and this engine is to be FP32", [], {})
    if order.dla >= cores:
        raise BuildError(
            "input",
            "DLA core {} is asked for, and this module has {}.".format(order.dla, cores),
            "Give 0{} as `dla_core`.".format("" if cores == 1 else " to {}".format(cores - 1)),
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = order.dla
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    # As trtexec does with --useDLACore (sampleEngines.cpp); 8.0 has the older name. It is no flag of a strongly typed
    # network (NVIDIA TensorRT 11, "Strongly Typed Networks for DLA").
    for name in ("PREFER_PRECISION_CONSTRAINTS", "STRICT_TYPES"):
        if weak_flags(trt, order) and hasattr(trt.BuilderFlag, name):
            config.set_flag(getattr(trt.BuilderFlag, name))
            break
    taken, fallen = _sorted_out(parsed, config)
    return Accelerated(order.dla, "", taken, fallen)


def _sorted_out(parsed: ParsedNetwork, config: Any) -> Tuple[List[str], Dict[str, str]]:
    taken: List[str] = []
    fallen: Dict[str, str] = {}
    for layer in layers_of(parsed.network):
        said = len(parsed.log.lines)
        if config.can_run_on_DLA(layer):
            taken.append(layer.name)
        elif layer.type.name != "CONSTANT":  # weights belong to the layer that reads them
            fallen[layer.name] = _why(layer, [text for _, text in parsed.log.lines[said:]])
    return taken, fallen


def _why(layer: Any, said: List[str]) -> str:
    if layer.type.name in ("QUANTIZE", "DEQUANTIZE"):
        return _QUANTIZED
    words = [plain(text) for text in said]
    return "; ".join(dict.fromkeys(text for text in words if not _BARE_ALONE.match(text))) or _UNTOLD


def refined(found: Accelerated, lines: List[Tuple[str, str]]) -> Accelerated:
    """With what the build itself said: a layer that it moved, and a better reason where there was none."""
    fallen, taken = dict(found.fallen), list(found.taken)
    for _, text in lines:
        for name in list(taken):
            if _BARE.search(text) and _names(text, name):
                taken.remove(name)
                fallen[name] = plain(text)
        for name, why in fallen.items():
            if why == _UNTOLD and _names(text, name) and not _BARE_ALONE.match(plain(text)):
                fallen[name] = plain(text)
    return found._replace(taken=taken, fallen=fallen)


def _names(text: str, layer: str) -> bool:
    """Whether a message is about the layer, whose name stands in quotes, behind `layer`, or before a colon."""
    name = re.escape(layer)
    return bool(
        layer and re.search(r"(?:['\"]{0}['\"]|\blayer {0}(?=[ .,:]|$)|^{0}:)".format(name), text, re.IGNORECASE)
    )
