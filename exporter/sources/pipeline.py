"""A network with what happens to its inputs before it and to its outputs after it, as one torch module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import InputError
from .parts import NETWORK, POSTPROCESS, PREPROCESS
from .plain import evaluating, unwrapped
from .torch_module import by_keyword, named_outputs
from .traceback import user_errors


class PlainStep(nn.Module):
    """A plain function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        # The module whose text says what this computes, as the class of others does (`module_digest`).
        self.defined_in: str = getattr(function, "__module__", None) or type(function).__module__

    def forward(self, *given: Tensor, **named: Tensor) -> Any:
        """What the function makes of them."""
        return self.function(*given, **named)

    def extra_repr(self) -> str:
        """The function's name, which a digest of the module then has in it."""
        return getattr(self.function, "__qualname__", type(self.function).__name__)


class Pipeline(nn.Module):
    """`postprocess(network(preprocess(inputs)))`, of inputs by position.

    Args:
        names: the pipeline's inputs, in the order in which `forward` takes them.
        preprocess: takes the inputs by name and gives what the network takes: a tensor, a tuple or a dict.
        postprocess: takes the network's output tensors by position.
    """

    def __init__(
        self, network: nn.Module, names: Sequence[str], preprocess: nn.Module | None, postprocess: nn.Module | None
    ) -> None:
        super().__init__()
        self.names = tuple(names)
        self.add_module(PREPROCESS, preprocess)
        self.add_module(NETWORK, network)
        self.add_module(POSTPROCESS, postprocess)

    def forward(self, *tensors: Tensor) -> Any:
        """The result of the whole."""
        result = self._run(self.before(dict(zip(self.names, tensors, strict=True))))
        after = self._modules[POSTPROCESS]
        return result if after is None else after(*named_outputs(result).values())

    @property
    def network(self) -> nn.Module:
        """What is between the two, as the user gave it."""
        network = self._modules[NETWORK]
        assert network is not None
        return network

    @property
    def preprocess(self) -> nn.Module | None:
        """What runs before the network."""
        return self._modules[PREPROCESS]

    @property
    def postprocess(self) -> nn.Module | None:
        """What runs after it."""
        return self._modules[POSTPROCESS]

    def holding(self, network: nn.Module) -> Pipeline:
        """The same around another network."""
        return Pipeline(network, self.names, self.preprocess, self.postprocess)

    def before(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the network takes, by the names of its parameters.

        Args:
            inputs: the pipeline's, by name.

        Raises:
            InputError: `preprocess` gives something else than tensors, or not what the network takes.
        """
        preprocess = self.preprocess
        if preprocess is None:
            return dict(inputs)
        given = preprocess(**inputs)
        if isinstance(given, Mapping):
            named = dict(given)
        else:
            values = tuple(given) if isinstance(given, tuple | list) else (given,)
            named = dict(zip(_parameters(self.network, len(values)), values, strict=True))
        if wrong := [n for n, value in named.items() if not isinstance(value, Tensor)] or (not named and ["nothing"]):
            raise InputError(
                f"preprocess() gives {type(named.get(wrong[0])).__name__} for {wrong[0]!r}; expected tensors.",
                hint="Return what forward of the network takes: a tensor, a tuple of tensors, or a dict by name.",
            )
        # A permuted image keeps its bytes in the order [N, H, W, C], which torch calls channels_last; its pooling then
        # speaks of strides (`as_strided`), which an exporter writes as a Gather of single numbers.
        return {name: value.contiguous() for name, value in named.items()}

    def _run(self, feed: Mapping[str, Tensor]) -> Any:
        if by_keyword(self.network, list(feed), "preprocess()"):
            return self.network(**feed)
        return self.network(*feed.values())


def piped(network: nn.Module, names: Sequence[str], preprocess: object, postprocess: object, origin: str) -> nn.Module:
    """The network inside what is given around it; the network itself where neither is given.

    Args:
        names: of the inputs of the whole.

    Raises:
        InputError: one of them is neither a function nor a module, or `preprocess` does not take these inputs.
    """
    if preprocess is None and postprocess is None:
        return network
    before, after = _step(preprocess, "preprocess", origin), _step(postprocess, "postprocess", origin)
    if before is not None:
        _check_takes(preprocess, names, origin)
    return Pipeline(network, names, before, after).eval()


def _step(given: object, name: str, origin: str) -> nn.Module | None:
    if given is None:
        return None
    if isinstance(given, nn.Module):
        return evaluating(unwrapped(given, origin), origin)
    if isinstance(given, type) or not callable(given):
        raise InputError(
            f"{origin}: {name} is {'the class ' * isinstance(given, type)}{_kind(given)}; expected a function or a "
            "torch module.",
            hint=f"Write `def {name}(...)` of torch operators, or `{name} = Module()`.",
        )
    return PlainStep(given)


def _check_takes(preprocess: Any, names: Sequence[str], origin: str) -> None:
    """Refuse inputs of other names than it has parameters; of what has no signature nothing is known.

    Raises:
        InputError: naming both.
    """
    try:
        signature = inspect.signature(getattr(preprocess, "forward", preprocess))
    except (TypeError, ValueError):
        return
    try:
        signature.bind(**dict.fromkeys(names))
    except TypeError as error:
        raise InputError(
            f"{origin}: inputs() names {', '.join(names)}; preprocess() takes {signature}.",
            hint="Name the inputs as the parameters of preprocess(), which becomes part of the model and takes them by "
            "name. A function that is meant for something else needs another name.",
        ) from error


def _kind(given: object) -> str:
    return given.__name__ if isinstance(given, type) else type(given).__name__


def _parameters(network: nn.Module, count: int) -> list[str]:
    """Names for so many values by position: those of forward's parameters, as far as it names them."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [p.name for p in inspect.signature(network.forward).parameters.values() if p.kind in kinds]
    return [*named[:count], *(f"input_{index}" for index in range(len(named), count))]


def prepared(pipeline: Pipeline, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`before`, without gradients, and in the user's terms where it fails.

    Raises:
        InputError: `preprocess` raises, or gives what the network does not take.
    """
    with user_errors("preprocess()"), torch.no_grad():
        return pipeline.before(feed)
