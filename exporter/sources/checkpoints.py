"""Weights that `model()` loads and that are not the module's: what their names show, and loads that load nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...errors import InputError

if TYPE_CHECKING:
    from torch import nn


def way_to_load(error: BaseException) -> str | None:
    """What to do where load_state_dict() found other names than it wants; None for any other error."""
    text = str(error)
    if "loading state_dict" not in text:
        return None
    missing, surplus = (_keys(text, word) for word in ("Missing", "Unexpected"))
    if "size mismatch" in text and not missing and not surplus:
        return "Build the network with the sizes that it was trained with (classes, channels)."
    return _way(missing, surplus)


def _keys(text: str, word: str) -> list[str]:
    """The names after `Missing key(s) in state_dict:` or `Unexpected ...`."""
    found = re.search(word + r" key\(s\) in state_dict: (.*)", text)
    return re.findall(r'"([^"]+)"', found[1]) if found else []


def _way(missing: Sequence[str], surplus: Sequence[str]) -> str | None:
    """What the two lists of names show."""
    for prefix in sorted({f"{name.partition('.')[0]}." for name in surplus if "." in name}):
        cut = {name.removeprefix(prefix) for name in surplus if name.startswith(prefix)}
        if missing and cut >= set(missing):
            return (
                f"Its names begin with {prefix!r}, as of a wrapper. Take that off: "
                f"{{name.removeprefix({prefix!r}): value for name, value in weights.items()}}."
            )
    for prefix in sorted({f"{name.partition('.')[0]}." for name in missing if "." in name}):
        if surplus and {name.removeprefix(prefix) for name in missing if name.startswith(prefix)} >= set(surplus):
            return f"The network's names begin with {prefix!r}, the file's do not: load them into model.{prefix[:-1]}."
    if missing and surplus and not any("." in name for name in surplus):
        return (
            f"The file holds more than weights ({', '.join(surplus[:4])}): load the entry that has them, as ['model']."
        )
    if missing and not surplus:
        return "The file lacks these weights: build the network that they were saved from."
    if surplus and not missing:
        return "The file has weights that the network lacks: build the network that they were saved from."
    return "Build the network that the weights were saved from."


@contextmanager
def loads_watched(origin: str) -> Iterator[None]:
    """Refuse a load_state_dict(strict=False) inside that takes nothing from the file: it says so to nobody.

    Raises:
        InputError: there is one; the model has the weights that it was built with.
    """
    from torch import nn

    original, nothing = nn.Module.load_state_dict, dict[nn.Module, tuple[list[str], list[str]]]()

    def load_state_dict(self: nn.Module, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        found = original(self, state_dict, strict, assign)
        names = self.state_dict().keys()
        if names and not names & state_dict.keys():
            nothing[self] = (list(names), list(state_dict))
        else:
            nothing.pop(self, None)
        return found

    nn.Module.load_state_dict = load_state_dict  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.load_state_dict = original  # type: ignore[method-assign]
    for module, (wanted, given) in nothing.items():
        raise InputError(
            f"{origin}: load_state_dict(strict=False) loads none of {len(wanted)} weights of {type(module).__name__}; "
            f"these are called {', '.join(wanted[:2])}, what it is given {', '.join(given[:2]) or 'nothing'}.",
            hint=_way(wanted, given),
        )
