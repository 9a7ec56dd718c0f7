"""Whether a file has the tensors of an architecture: none missing, none of another shape, none that would count."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from .store import Fitted, Store

# Buffers that older transformers saved with a model; they follow from its configuration.
_BUFFERS = re.compile(r"(^|\.)(rotary_emb\.inv_freq|(attn|attention)\.(bias|masked_bias|rotary_emb\.inv_freq))$")
# What files call a part that transformers since calls otherwise: GPT-NeoX's head.
_OLDER = {"embed_out.": "lm_head."}
_SHOWN = 3
_AGAIN = "Give config.json and weights that `save_pretrained` wrote together."


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The tensors of an architecture.

    Attributes:
        shapes: by name, without those that are another one's.
        same: names that stand for another tensor: the head of a tied model for its embedding.
        prefix: of all that a model without a head has, with its dot; files of such a model go without it.
        layers: path of the list of layers, with its dot.
    """

    shapes: Mapping[str, tuple[int, ...]]
    same: Mapping[str, str]
    prefix: str
    layers: str


def fit(store: Store, expected: Expected, origin: str) -> Fitted:
    """The checkpoint of the architecture.

    A tensor too many is refused where the architecture would compute something else with it: in its layers, or beside
    a weight that it has. Others (another head, another modality) are told as `Fitted.unused`.

    Args:
        origin: what is read, for messages.

    Raises:
        InputError: naming tensors that are missing, of another shape, or too many.
    """
    named = dict(_named(store.shapes, expected))
    same = {target: source for target, source in expected.same.items() if target in named}
    names = {name: named[name] for name in expected.shapes if name in named}
    for target, source in same.items():
        names.setdefault(source, named[target])
    _need(names, expected.shapes, origin)
    _check_shapes(store, names, expected.shapes, origin)
    _check_same(store, named, same, origin)
    extra = [name for name in named if name not in expected.shapes and name not in same]
    unused = tuple(name for name in extra if not _BUFFERS.search(name))
    _check_extra([name for name in unused if _counts(name, expected)], origin)
    return Fitted(store=store, names=names, shapes=expected.shapes, unused=unused)


def _named(stored: Iterable[str], expected: Expected) -> Iterator[tuple[str, str]]:
    """Each stored name by the architecture's name of it."""
    stored = list(stored)
    bare = not any(name.startswith(expected.prefix) for name in stored)
    known = expected.shapes.keys() | expected.same.keys()
    for name in stored:
        ways = (_renamed(name), expected.prefix + name) if bare else (_renamed(name),)
        yield next((way for way in ways if way in known), ways[-1]) if name not in known else name, name


def _renamed(name: str) -> str:
    old = next((old for old in _OLDER if name.startswith(old)), "")
    return _OLDER[old] + name.removeprefix(old) if old else name


def _need(names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]], origin: str) -> None:
    if missing := [name for name in shapes if name not in names]:
        raise InputError(f"{origin} lacks {_listed(missing)}, which its configuration asks for.", hint=_AGAIN)


def _check_shapes(store: Store, names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]], origin: str) -> None:
    wrong = [name for name, stored in names.items() if store.shapes[stored] != shapes[name]]
    if wrong:
        first = wrong[0]
        raise InputError(
            f"{origin} has {_listed(wrong)} of another shape than its configuration says: {first} is "
            f"{store.shapes[names[first]]}, and expected is {shapes[first]}.",
            hint=_AGAIN,
        )


def _check_same(store: Store, named: Mapping[str, str], same: Mapping[str, str], origin: str) -> None:
    """A file may have both of two tied tensors; that they are equal is not taken on trust."""
    for target, source in same.items():
        if source in named and not _equal(store, named[target], named[source]):
            raise InputError(
                f"{origin} ties {target} to {source}, and the file has different values for the two.",
                hint='Write "tie_word_embeddings": false into config.json, or remove the tensor that is not meant.',
            )


def _equal(store: Store, one: str, other: str) -> bool:
    shape = store.shapes[one]
    if shape != store.shapes[other]:
        return False
    step = max(1, (1 << 22) // max(1, int(np.prod(shape[1:]))))
    parts = ((begin, min(begin + step, shape[0])) for begin in range(0, shape[0], step))
    return all(np.array_equal(store.read(one, part), store.read(other, part)) for part in parts)


def _counts(name: str, expected: Expected) -> bool:
    """It lies in the layers, or beside a weight that the architecture has."""
    beside = name.rpartition(".")[0]
    return name.startswith(expected.layers) or any(known.rpartition(".")[0] == beside for known in expected.shapes)


def _check_extra(extra: list[str], origin: str) -> None:
    if extra:
        raise InputError(
            f"{origin} has {_listed(extra)}, which a model of its configuration does not compute with.", hint=_AGAIN
        )


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more tensor{'s' if more > 1 else ''}" if more > 0 else "")
