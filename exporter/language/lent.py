"""A module without weights of its own: its parameters are read when they are used, and let go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .store import Fitted, row_numbers
from .weights import Floats

if TYPE_CHECKING:
    from torch import nn

    from .decoder import Linear


class Lent:
    """The parameters of a module on the meta device, by name, as they come and go."""

    def __init__(self, module: nn.Module, checkpoint: Fitted) -> None:
        """Take the module as it is, without weights."""
        self._module = module
        self._checkpoint = checkpoint
        named = dict(module.named_parameters(remove_duplicate=False))
        first: dict[int, str] = {}
        # Of tied parameters the first name is the one that the checkpoint has.
        self._sources = {name: first.setdefault(id(parameter), name) for name, parameter in named.items()}
        self._held: frozenset[str] = frozenset()

    def under(self, *paths: str) -> list[str]:
        """Names of the parameters of these parts of the module."""
        return [name for name in self._sources if any(name.startswith(f"{path}.") for path in paths)]

    def names(self) -> list[str]:
        """Names of all parameters."""
        return list(self._sources)

    @contextmanager
    def filled(self, names: Iterable[str], instead: Mapping[str, Floats] | None = None) -> Iterator[None]:
        """These parameters have their values inside; those that have them already keep them.

        Args:
            instead: other values than the checkpoint's.
        """
        import torch
        from torch import nn

        instead = instead or {}
        new = [name for name in names if name in instead or name not in self._held]
        before: dict[str, Any] = {name: self._module.get_parameter(name) for name in new}
        read: dict[str, Any] = {}
        held = self._held
        try:
            for name in new:
                source = self._sources[name]
                if source not in read:
                    values = instead.get(name)
                    values = self._checkpoint.stored(source) if values is None else values
                    read[source] = nn.Parameter(torch.from_numpy(values), requires_grad=False)
                self._set(name, read[source])
            self._held = held.union(new)
            yield
        finally:
            self._held = held
            for name in new:
                self._set(name, before[name])

    @contextmanager
    def replaced(self, linears: Iterable[Linear], weights: Mapping[str, Floats]) -> Iterator[None]:
        """Linear layers, filled already, have other weights inside, of shape (outputs, inputs) by `Linear.name`."""
        before = []
        for each in linears:
            if each.name in weights:
                stored = self._module.get_parameter(each.weight.name).numpy()
                turned = stored.T if each.weight.transposed else stored
                rows = row_numbers(turned.shape[0], each.weight)
                before.append((turned, rows, turned[rows]))
                turned[rows] = weights[each.name]
        try:
            yield
        finally:
            for turned, rows, values in reversed(before):
                turned[rows] = values

    def fill_when_run(self, paths: Iterable[str]) -> None:
        """From now on each of these parts is filled while it runs."""
        for path in paths:
            part, names = self._module.get_submodule(path), self.under(path)
            open_: list[Any] = []

            def begin(*_: Any, names: list[str] = names, open_: list[Any] = open_) -> None:
                open_.append(self.filled(names))
                open_[-1].__enter__()

            def end(*_: Any, open_: list[Any] = open_) -> None:
                open_.pop().__exit__(None, None, None)

            part.register_forward_pre_hook(begin)
            part.register_forward_hook(end, always_call=True)

    def _set(self, name: str, parameter: Any) -> None:
        path, _, last = name.rpartition(".")
        setattr(self._module.get_submodule(path), last, parameter)
