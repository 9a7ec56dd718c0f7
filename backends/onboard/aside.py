"""Layers that this TensorRT has no integer kernel for, set aside: they read floats, past their Q/DQ pairs.

TensorRT then ends a build with "Could not find any implementation for node A + B + PWN(C, D)", a region that it fused.
"""

import re
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from .orders import Order
from .parsing import ParsedNetwork, layers_of

# Behind the region stands where in its sources TensorRT 10 found so, or the end of the bracket that 8 says it in.
_MISSING = re.compile(r"[Cc]ould not find any implementation for node (.+?)\.?(?: In \w+ at .*|\)?)$")
_FOREIGN = re.compile(r"\{ForeignNode\[(.+?)\.\.\.(.+?)\]\}")
_PAIR = ("QUANTIZE", "DEQUANTIZE")


class SetAside(NamedTuple):
    """A region that is computed in float, with the layers of the graph that it consists of."""

    region: str
    layers: Tuple[str, ...]


def region_without_kernel(lines: List[Tuple[str, str]]) -> str:
    """The region that a build ended at since there is no kernel for it, in TensorRT's words; empty of other faults.

    A lack of workspace is one of them: more of it helps, and float does not.
    """
    for severity, text in reversed(lines):
        if "ERROR" in severity and "due to insufficient workspace" not in text:
            found = _MISSING.search(" ".join(text.split()))
            if found:
                return found.group(1)
    return ""


def set_aside(parsed: ParsedNetwork, config: Any, order: Order, region: str) -> Optional[SetAside]:
    """Let the layers of a region read floats; None where nothing of it could be changed."""
    layers = layers_of(parsed.network)
    named = _layers_in(region, layers)
    made_by = {layer.get_output(i).name: layer for layer in layers for i in range(layer.num_outputs)}
    computing = [layer for layer in named if layer.type.name not in (*_PAIR, "CONSTANT")]
    if not computing:
        # A quantizer itself is what has no kernel: who reads the pair then reads what was before it.
        pairs = {layer.name for layer in named if layer.type.name in _PAIR}
        computing = [layer for layer in layers if layer.type.name not in _PAIR and _reads(layer, pairs, made_by)]
    moved = [layer for layer in computing if _read_floats(layer, made_by)]
    moved = moved or [layer for layer in computing if _hold_to_float(parsed.trt, config, order, layer)]
    return SetAside(region, tuple(dict.fromkeys(layer.name for layer in moved))) if moved else None


def _layers_in(region: str, layers: List[Any]) -> List[Any]:
    """The layers of the network that a region names; of one that names two ends, all between them."""
    ends = _FOREIGN.search(region)
    if ends:
        names = [layer.name for layer in layers]
        spots = [names.index(end) for end in ends.groups() if end in names]
        return layers[min(spots) : max(spots) + 1] if len(spots) == 2 else []
    text = re.sub(r"_clone_\d+(?= |$|[),])", "", region)
    return [layer for layer in layers if layer.name and _stands_in(layer.name, text)]


def _stands_in(name: str, region: str) -> bool:
    return re.search(r"(?:^|\+ |\(|, |\|\| ){}(?=$| \+|\)|,| \|\|)".format(re.escape(name)), region) is not None


def _inputs(layer: Any) -> List[Tuple[int, Any]]:
    found = [(index, layer.get_input(index)) for index in range(layer.num_inputs)]
    return [(index, tensor) for index, tensor in found if tensor is not None]


def _reads(layer: Any, pairs: Set[str], made_by: Dict[str, Any]) -> bool:
    """Whether a layer reads what one of these quantizers, or the dequantizer behind it, gives."""
    makers = [made_by[tensor.name] for _, tensor in _inputs(layer) if tensor.name in made_by]
    before = [made_by.get(one.get_input(0).name) for one in makers if one.type.name == "DEQUANTIZE"]
    return any(one is not None and one.name in pairs for one in makers + before)


def _read_floats(layer: Any, made_by: Dict[str, Any]) -> bool:
    """Whether some input was a Q/DQ pair, which the layer now reads past."""
    changed = False
    for index, tensor in _inputs(layer):
        dequantize = made_by.get(tensor.name)
        if dequantize is None or dequantize.type.name != "DEQUANTIZE":
            continue
        quantize = made_by.get(dequantize.get_input(0).name)
        if quantize is not None and quantize.type.name == "QUANTIZE":
            layer.set_input(index, quantize.get_input(0))
            changed = True
    return changed


def _hold_to_float(trt: Any, config: Any, order: Order, layer: Any) -> bool:
    """Ask for FP32 where builder flags choose the precision and no Q/DQ pair does; 11 has no such wish any more."""
    if not any(hasattr(trt.BuilderFlag, name) for name in order.weak) or not hasattr(layer, "precision"):
        return False
    if layer.get_output(0).dtype.name not in ("FLOAT", "HALF"):
        return False
    for name in ("OBEY_PRECISION_CONSTRAINTS", "STRICT_TYPES"):
        if hasattr(trt.BuilderFlag, name):
            config.set_flag(getattr(trt.BuilderFlag, name))
            layer.precision = trt.DataType.FLOAT
            return True
    return False
