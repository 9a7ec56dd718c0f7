"""Outputs of named modules, seen beside the model's own, and brought to the teacher's widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ...errors import InputError
from ...profiles.reading.near import near_names
from ..sources.torch_module import by_keyword

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


class ObservedModule(nn.Module):
    """A module together with the outputs of some of its parts.

    What is trained is this whole, the projections too: a data-parallel wrapper around it sees every output.
    """

    def __init__(self, module: nn.Module, names: Sequence[str], inputs: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self.projections = nn.ModuleDict()
        self._keywords = by_keyword(module, inputs, "The training data")
        self._seen: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = [
            part.register_forward_hook(self._see(name)) for name, part in _parts(module, names).items()
        ]

    def forward(self, feed: Mapping[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
        """The module's result, and the outputs of the parts by name, projected where there is a projection."""
        self._seen = {}
        result = self.module(**feed) if self._keywords else self.module(*feed.values())
        seen, self._seen = self._seen, {}
        return result, {name: self._projected(name, tensor) for name, tensor in seen.items()}

    def release(self) -> nn.Module:
        """The module without the hooks."""
        for handle in self._handles:
            handle.remove()
        return self.module

    def project(self, pairs: Sequence[tuple[str, str]], own: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
        """Add a linear map for each pair whose widths differ, along that axis: a 1x1 convolution for images.

        Raises:
            InputError: a part was not run, or the shapes differ in more than one axis.
        """
        for mine, theirs in pairs:
            for name, seen, whose in ((mine, own, "student"), (theirs, other, "teacher")):
                if name not in seen:
                    raise InputError(f"--features: module {name!r} of the {whose} gives no tensor when it is run.")
            one, two = own[mine].shape, other[theirs].shape
            differ = [axis for axis, sizes in enumerate(zip(one, two, strict=False)) if sizes[0] != sizes[1]]
            if len(one) != len(two) or len(differ) > 1 or 0 in differ:
                raise InputError(
                    f"--features: {mine!r} of the student gives {tuple(one)} and {theirs!r} of the teacher "
                    f"{tuple(two)}; they may differ in one axis, their width.",
                    hint="Name modules at the same place in both networks.",
                )
            if differ:
                self.projections[_key(mine)] = _Along(differ[0], one[differ[0]], two[differ[0]])

    def _projected(self, name: str, tensor: Tensor) -> Tensor:
        key = _key(name)
        return self.projections[key](tensor) if key in self.projections else tensor

    def _see(self, name: str) -> Any:
        def hook(part: nn.Module, arguments: Any, result: Any) -> None:
            tensor = result[0] if isinstance(result, tuple | list) and result else result
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                self._seen[name] = tensor

        return hook


class _Along(nn.Module):
    """A linear map along one axis."""

    def __init__(self, axis: int, inside: int, outside: int) -> None:
        super().__init__()
        self.axis = axis
        self.linear = nn.Linear(inside, outside)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x.movedim(self.axis, -1))
        return y.movedim(-1, self.axis)


def feature_pairs(features: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(student's module, teacher's module) of `NAME` or `STUDENT=TEACHER`."""
    pairs = ((mine, theirs if equals else mine) for mine, equals, theirs in (name.partition("=") for name in features))
    return tuple(dict.fromkeys(pairs))


def _parts(module: nn.Module, names: Sequence[str]) -> dict[str, nn.Module]:
    known = {name: part for name, part in module.named_modules() if name}
    for name in names:
        if name not in known:
            near = near_names(name, known) or list(known)[:5]
            raise InputError(
                f"--features: {type(module).__name__} has no module {name!r}; near are {', '.join(near) or 'none'}.",
                hint="Give names as model.named_modules() lists them, or STUDENT=TEACHER where they differ.",
            )
    return {name: known[name] for name in dict.fromkeys(names)}


def _key(name: str) -> str:
    """A name that ModuleDict takes: it forbids dots."""
    return name.replace(".", "/")
