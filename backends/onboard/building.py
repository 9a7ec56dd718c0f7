"""One build: parse, configure, build, and again with what has no integer kernel in float."""

import re
from typing import Any, List, NamedTuple, Optional, Tuple

from .aside import SetAside, region_without_kernel, set_aside
from .dla import Accelerated, accelerate, refined
from .orders import BuildError, Order
from .parsing import ParsedNetwork, need_accepted, parse, title_of
from .settings import configure, flags_set, untyped, weak_flags
from .timing_cache import begin_cache, keep_cache

# A build of a large model on a small board takes hours; a model with more such regions is better exported in float.
ATTEMPTS = 16
_TOLD = 12  # layers that a note names; a record has all


class CacheUse(NamedTuple):
    """The file of a timing cache, its bytes before and after; None where TensorRT or the disk had none for it."""

    path: str
    before: int
    after: Optional[int]


class Built(NamedTuple):
    """An engine.

    Attributes:
        plan: its bytes.
        flags: builder flags that were set.
        aside: what is computed in float for want of an integer kernel.
        accelerated: what became of the DLA; None where it was not asked for.
        cache: None where there is no device whose times could be kept.
        warnings: of TensorRT, in its order, each once.
        notes: what a reader must know, a sentence each.
    """

    plan: bytes
    flags: Tuple[str, ...]
    aside: Tuple[SetAside, ...]
    accelerated: Optional[Accelerated]
    cache: Optional[CacheUse]
    warnings: Tuple[str, ...]
    notes: Tuple[str, ...]


def build(trt: Any, order: Order, path: str, log: Any, cache: str = "") -> Built:
    """Build what is ordered.

    Args:
        path: of the graph.
        cache: file of times of kernels; empty where none is to be used.

    Raises:
        BuildError: the graph is refused, or TensorRT cannot build it: its words, and the node where it names one.
    """
    note = untyped(trt, order)
    regions: List[str] = []
    while True:
        parsed = parse(trt, path, log, weak=bool(weak_flags(trt, order)))
        need_accepted(parsed)
        config = configure(parsed, order)
        aside = tuple(one for one in (set_aside(parsed, config, order, region) for region in regions) if one)
        if regions and (not aside or aside[-1].region != regions[-1]):
            raise _no_kernel(trt, parsed, regions[-1], "and nothing of it could be computed in float instead")
        accelerated = accelerate(parsed, config, order)
        usable, before = begin_cache(config, cache) if cache else (False, 0)
        said = len(log.lines)
        plan = parsed.builder.build_serialized_network(parsed.network, config)
        if plan is not None:
            break
        region = region_without_kernel(log.lines[said:])
        if not region:
            raise _failed(trt, parsed, log.errors())
        if region in regions or len(regions) == ATTEMPTS:
            raise _no_kernel(trt, parsed, region, "not in float either")
        regions.append(region)
    accelerated = accelerated and refined(accelerated, log.lines[said:])
    return Built(
        plan=bytes(plan),
        flags=tuple(flags_set(trt, config)),
        aside=aside,
        accelerated=accelerated,
        cache=CacheUse(cache, before, keep_cache(config, cache) if usable else None) if cache else None,
        warnings=tuple(dict.fromkeys(text for severity, text in log.lines if severity == "WARNING")),
        notes=tuple(filter(None, [note] + [_in_float(trt, one) for one in aside] + _of_dla(accelerated))),
    )


def _in_float(trt: Any, one: SetAside) -> str:
    return "{} {} computed in float: {} has no integer kernel for {}.".format(
        ", ".join(one.layers), "is" if len(one.layers) == 1 else "are", title_of(trt), one.region
    )


def _of_dla(found: Optional[Accelerated]) -> List[str]:
    if found is None:
        return []
    if found.core is None:
        return ["Built for the GPU alone: {}.".format(found.why_not)]
    head = "DLA core {} takes {} layers".format(found.core, len(found.taken))
    if not found.fallen:
        return [head + "; none falls back to the GPU."]
    told = ["{} ({})".format(name, why) for name, why in list(found.fallen.items())[:_TOLD]]
    more = len(found.fallen) - len(told)
    return [
        "{}; {} fall back to the GPU: {}{}.".format(
            head, len(found.fallen), ", ".join(told), " and {} more".format(more) if more else ""
        )
    ]


def _no_kernel(trt: Any, parsed: ParsedNetwork, region: str, more: str) -> BuildError:
    return BuildError(
        "refused",
        "{} has no kernel for {} of {}, {}.".format(title_of(trt), region, parsed.file, more),
        "Leave these layers in float with --exclude when you export, or use another version of TensorRT.",
    )


def _failed(trt: Any, parsed: ParsedNetwork, errors: str) -> BuildError:
    message = "{} could not build {}: {}.".format(title_of(trt), parsed.file, errors)
    if re.search(r"out of memory|insufficient memory|OutOfMemory|cudaError|insufficient workspace", errors):
        return BuildError("unserved", message, "Free device memory, or change the target's option workspace_mib.")
    return BuildError("refused", message)
