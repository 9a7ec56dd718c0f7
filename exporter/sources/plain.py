"""The module that is meant: out of the wrappers of training and compiling, in single precision, and not a script."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...backends.base import Array
from ...errors import InputError
from .base import Predict
from .torch_module import call

if TYPE_CHECKING:
    from torch import Tensor, nn

# Where torch keeps modules that hold integers.
_INTEGERS = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")


def not_a_module(what: str, given: object) -> InputError:
    """The error for something else than a module, with the way to one where it is known.

    Args:
        what: gave it, as a message begins.
    """
    if isinstance(given, type):
        name = given.__name__
        return InputError(f"{what} the class {name}; expected a torch.nn.Module.", hint=f"Give one of it: {name}(...).")
    if given is None:
        return InputError(f"{what} nothing; expected a torch.nn.Module.", hint="Is its `return` missing?")
    kind = type(given).__name__
    article = "an" if kind[0] in "AEIOU" else "a"
    return InputError(f"{what} {article} {kind}; expected a torch.nn.Module.", hint=_way_to_a_module(given, kind))


def _way_to_a_module(given: object, kind: str) -> str | None:
    from torch import nn

    if isinstance(given, Mapping | tuple | list):
        values = given.items() if isinstance(given, Mapping) else enumerate(given)
        inside = next((key for key, value in values if isinstance(value, nn.Module)), None)
        if inside is not None:
            return f"One is inside: give [{inside!r}] of it."
    return {
        "ExportedProgram": "Write it with torch.export.save(program, 'model.pt2') and give that file.",
        "OrderedDict": "That is weights: build the network and give it them with load_state_dict().",
        "dict": "That is weights: build the network and give it them with load_state_dict().",
        "function": "Put it into the forward of a torch.nn.Module.",
        "ScriptFunction": "torch.jit compiled it: give a torch.nn.Module whose forward is the function in Python.",
        "ScriptMethod": "torch.jit compiled it: give a torch.nn.Module whose forward is the method in Python.",
    }.get(kind)


def unwrapped(module: nn.Module, origin: str) -> nn.Module:
    """The module inside `DataParallel`, `DistributedDataParallel` and `torch.compile`, which share its weights.

    Raises:
        InputError: it is a ScriptModule, or has one inside.
    """
    from torch import jit

    while (inner := _inner(module)) is not None:
        module = inner
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if (meant := _inner(child)) is not None:
                setattr(parent, name, meant)
    for name, child in module.named_modules():
        if isinstance(child, jit.ScriptModule):
            raise _script(name, child, origin)
        if type(child).__module__.startswith(_INTEGERS):
            raise _quantized(name, child, origin)
        if _rounds(child):
            raise _prepared(name, child, origin)
        if child._compiled_call_impl is not None:
            # What `module.compile()` leaves behind; capture reads forward itself.
            child._compiled_call_impl = None
    return module


def evaluating(module: nn.Module, origin: str) -> nn.Module:
    """The module in evaluation mode.

    Raises:
        InputError: it is what is inside an exported program, which torch neither switches nor exports again.
    """
    try:
        return module.eval()
    except NotImplementedError as error:
        # torch gives each of them `eval` and `train` of its own, which refuse.
        name = next((name for name, child in module.named_modules() if "eval" in vars(child)), "")
        where = f"the module {name!r} inside the model" if name else "the model"
        raise InputError(
            f"{origin}: {where} is the module of an exported program (torch.export.export(...).module()).",
            hint="Write the program with torch.export.save and give the .pt2 file, or give the module it was made of.",
        ) from error


def _inner(module: nn.Module) -> nn.Module | None:
    """What a wrapper holds; None for any other module."""
    from torch import nn

    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return module._modules["module"]
    return dict(module.named_children()).get("_orig_mod")  # what torch.compile returns


def _script(name: str, module: nn.Module, origin: str) -> InputError:
    where = f"the module {name!r} inside the model" if name else "the model"
    # A frozen one has its weights as constants in its code.
    weights = (
        "with its weights (module.load_state_dict(script.state_dict()))"
        if module.state_dict()
        else "with weights from where that had them (this script is frozen: it has no state_dict)"
    )
    return InputError(
        f"{origin}: {where} is a ScriptModule (torch.jit.script, .trace or .load). It holds compiled code instead of a "
        "forward in Python, and cannot be captured.",
        hint=f"Give the Python module that it was made from, {weights}, or an .onnx file of it.",
    )


def _quantized(name: str, module: nn.Module, origin: str) -> InputError:
    return InputError(
        f"{origin}: the module {name!r} inside the model is {type(module).__module__}.{type(module).__name__}: it is "
        "quantized already, in torch's own form, which ONNX does not have.",
        hint="Give the float model; edgepress quantizes it as the target wants.",
    )


def _rounds(module: nn.Module) -> bool:
    """Whether it rounds as training in integers does; the fused form has no ONNX form switched off either."""
    from torch.ao.quantization import FakeQuantizeBase, FusedMovingAvgObsFakeQuantize

    if not isinstance(module, FakeQuantizeBase):
        return False
    return isinstance(module, FusedMovingAvgObsFakeQuantize) or bool(module.fake_quant_enabled.any())


def _prepared(name: str, module: nn.Module, origin: str) -> InputError:
    return InputError(
        f"{origin}: the module {name!r} inside the model is a {type(module).__name__}: torch has prepared it for "
        "training in integers, and it rounds what passes.",
        hint="Give the float model with its weights (module.load_state_dict(prepared.state_dict(), strict=False)); "
        "edgepress quantizes it as the target wants, and --qat trains that.",
    )


def widened(module: nn.Module) -> nn.Module:
    """The module in float32 where its weights are in another float type, as a copy; else the module itself.

    The target decides in what precision a model runs; what it is made from is float32.
    """
    import torch

    others = (torch.float16, torch.bfloat16, torch.float64)
    if not any(weight.dtype in others for weight in module.parameters()):
        return module
    return copy.deepcopy(module).float()


def float_inputs(module: nn.Module, inputs: Mapping[str, Array]) -> tuple[nn.Module, dict[str, Array]]:
    """`widened`, with the example inputs to match; both as they were where its forward insists on its own type."""
    wide = widened(module)
    if wide is module:
        return module, dict(inputs)
    try:
        call(wide, in_float32(inputs))
    except Exception:  # whatever a forward raises that casts to the narrow type itself
        return module, dict(inputs)
    return wide, in_float32(inputs)


def in_float32(feed: Mapping[str, Array]) -> dict[str, Array]:
    """The feed with its floats in single precision."""
    return {name: array.astype(np.float32) if array.dtype.kind == "f" else array for name, array in feed.items()}


def feeds_taken(
    feeds: Callable[[], Iterable[Any]] | None, given: Mapping[str, Array], inputs: Mapping[str, Array]
) -> Callable[[], Iterable[Any]] | None:
    """The user's batches, their floats of the type that the model takes now where its own was another.

    Args:
        given: the example inputs as the user gave them.
        inputs: as the model takes them.
    """
    if feeds is None or all(given[name].dtype == array.dtype for name, array in inputs.items()):
        return feeds
    return lambda: (_as_taken(batch, inputs) for batch in feeds())


def evaluate_taken(
    evaluate: Callable[[Predict], float] | None, given: Mapping[str, Array], inputs: Mapping[str, Array]
) -> Callable[[Predict], float] | None:
    """The user's metric, whose predictor takes tensors as well, and floats of the type that the user's model had."""
    if evaluate is None:
        return None
    other = any(given[name].dtype != array.dtype for name, array in inputs.items())

    def scored(predict: Predict) -> float:
        return evaluate(lambda feed: predict(_fed(_as_taken(feed, inputs) if other else _as_arrays(feed), inputs)))

    return scored


def _fed(batch: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What `predict` was given, as arrays by name.

    Raises:
        InputError: it is no mapping, or holds something else than tensors and arrays.
    """
    what = type(batch).__name__
    if isinstance(batch, Mapping):
        wrong = [(name, value) for name, value in batch.items() if not isinstance(value, np.ndarray | np.generic)]
        if not wrong:
            return {name: np.asarray(value) for name, value in batch.items()}
        what = f"{wrong[0][0]!r}: {type(wrong[0][1]).__name__}"
    example = ", ".join(f"{name!r}: {array.dtype.name} {array.shape}" for name, array in inputs.items())
    raise InputError(
        f"predict() was given {what}; expected a dict of arrays or tensors by input name, as {{{example}}}."
    )


def _as_taken(batch: Any, inputs: Mapping[str, Array]) -> Any:
    arrays = _as_arrays(batch)
    if not isinstance(arrays, Mapping):
        return arrays
    floats = {name for name, array in inputs.items() if array.dtype.kind == "f"}
    return {name: np.asarray(a, inputs[name].dtype) if name in floats else a for name, a in arrays.items()}


def _as_arrays(batch: Any) -> Any:
    import torch

    if not isinstance(batch, Mapping):
        return batch
    return {n: _as_array(v) if isinstance(v, torch.Tensor) else v for n, v in batch.items()}


def _as_array(tensor: Tensor) -> Array:
    import torch

    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def by_position(module: nn.Module, names: Sequence[str]) -> nn.Module:
    """A module of the same weights and names whose `forward` takes these inputs as `*tensors`.

    torch.export cannot keep an axis of `**kwargs` free.
    """
    forward: Callable[..., Any] = module.forward

    class Positional(type(module)):  # type: ignore[misc]
        def forward(self, *tensors: Any) -> Any:
            return forward(**dict(zip(names, tensors, strict=True)))

    positional: nn.Module = object.__new__(Positional)  # without __init__, which the module's own has run
    vars(positional).update({name: value for name, value in vars(module).items() if name != "forward"})
    return positional


def with_plain_weights(module: nn.Module) -> nn.Module:
    """A module whose weights are what its parametrizations make of them; the module itself where it has none.

    They are the same at every call, and some are computed by operators that ONNX does not have. Tensors are shared.
    """
    from torch.nn.utils import parametrize

    if not any(parametrize.is_parametrized(child) for child in module.modules()):
        return module
    return _plain(module, {})


def _plain(module: nn.Module, made: dict[nn.Module, nn.Module]) -> nn.Module:
    """A copy of a module and of those inside; removing parametrizations would change the class that copies share."""
    from torch import nn
    from torch.nn.utils import parametrize

    if module in made:
        return made[module]
    parametrized = parametrize.is_parametrized(module)
    plain: nn.Module = object.__new__(type(module).__bases__[0] if parametrized else type(module))
    made[module] = plain
    children = {name: child for name, child in module._modules.items() if name != "parametrizations"}
    vars(plain).update(
        vars(module)
        | {
            "_parameters": dict(module._parameters),
            "_buffers": dict(module._buffers),
            "_modules": {name: child and _plain(child, made) for name, child in children.items()},
        }
    )
    for name in cast("nn.ModuleDict", module.parametrizations) if parametrized else ():
        plain._parameters[name] = nn.Parameter(getattr(module, name).detach(), requires_grad=False)
    return plain


def takes_anything(module: nn.Module) -> bool:
    """`forward` has `**kwargs`."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(module.forward).parameters.values())


def takes_more(module: nn.Module, names: Sequence[str]) -> bool:
    """`forward` takes these inputs by name, and has other parameters, another order, or takes them by name alone."""
    taken = inspect.signature(module.forward).parameters
    by_name = any(parameter.kind is parameter.KEYWORD_ONLY for parameter in taken.values())
    return set(names) <= set(taken) and (by_name or list(names) != list(taken))
