"""The settings that an engine is built with, on any TensorRT from 8.0 on."""

from typing import Any, List, Tuple

from .orders import Order
from .parsing import ParsedNetwork, title_of


def weak_flags(trt: Any, order: Order) -> Tuple[str, ...]:
    """Builder flags that lower precision, of those that the order asks for the ones that this TensorRT has.

    Empty means a strongly typed network (or, before 10, FP32): the graph's own types hold.
    """
    return tuple(name for name in order.weak if hasattr(trt.BuilderFlag, name))


def untyped(trt: Any, order: Order) -> str:
    """What an engine lacks where this TensorRT has no such flags any more; a sentence, empty where nothing.

    An fp16 graph lacks nothing: its own types are FP16. What is not int8 in an int8 graph is FP32.
    """
    gone = [name for name in order.weak if not hasattr(trt.BuilderFlag, name)]
    if not gone or order.typed:
        return ""
    return (
        "It was exported for TensorRT {}. {} has no flag {}: what is not {} in it is computed in the types of the "
        "graph.".format(order.made_for, title_of(trt), " or ".join(gone), order.precision)
    )


def configure(parsed: ParsedNetwork, order: Order) -> Any:
    """The configuration of a build."""
    trt = parsed.trt
    config = parsed.builder.create_builder_config()
    _give_workspace(trt, config, order.workspace << 20)
    _ask_for_detail(trt, config)
    for name in weak_flags(trt, order):
        config.set_flag(getattr(trt.BuilderFlag, name))
    if order.sparse and hasattr(trt.BuilderFlag, "SPARSE_WEIGHTS"):
        # It only allows such kernels: weights that are not 2:4 run as dense ones.
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    if order.exact and hasattr(trt.BuilderFlag, "TF32"):
        # TF32 keeps 10 bits of mantissa and is on by default; FP32 must mean it.
        config.clear_flag(trt.BuilderFlag.TF32)
    if order.ranges:
        profile = parsed.builder.create_optimization_profile()
        for name, ends in order.ranges.items():
            profile.set_shape(name, *ends)
        config.add_optimization_profile(profile)
    if order.capabilities:
        _name_gpus(trt, config, order.capabilities)
    return config


def _give_workspace(trt: Any, config: Any, size: int) -> None:
    """Memory pools came with 8.4, and the property before them went in 10."""
    if hasattr(config, "set_memory_pool_limit"):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size)
    else:
        config.max_workspace_size = size


def _ask_for_detail(trt: Any, config: Any) -> None:
    """What the inspector tells of kernels and formats, it tells only of engines built so; 8.0 calls it VERBOSE."""
    known = trt.ProfilingVerbosity
    config.profiling_verbosity = known.DETAILED if hasattr(known, "DETAILED") else known.VERBOSE


def _name_gpus(trt: Any, config: Any, names: Tuple[str, ...]) -> None:
    if not hasattr(config, "set_compute_capability"):  # TensorRT itself builds for the GPU that it finds
        return
    config.num_compute_capabilities = len(names)
    for index, name in enumerate(names):
        config.set_compute_capability(getattr(trt.ComputeCapability, capability_member(name)), index)


def capability_member(name: str) -> str:
    """The name that TensorRT-RTX gives a compute capability: SM86 for 8.6."""
    return "SM" + name.replace(".", "")


def flags_set(trt: Any, config: Any) -> List[str]:
    """The builder flags that are set, for the record."""
    members = trt.BuilderFlag.__members__
    return sorted(name for name in members if config.get_flag(members[name]))
