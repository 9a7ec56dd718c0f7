"""All models of the zoo, and what is made of each."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache

from . import from_packages, from_transformers, from_vision
from .model import ZooModel

# A float precision by target: what is shipped there where int8 is not.
FLOAT = {"cpu": "fp32", "server-cpu": "fp32", "mobile": "fp32", "jetson": "fp16", "rtx": "fp16"}
TARGETS = tuple(FLOAT)


@cache
def models() -> dict[str, ZooModel]:
    """By name."""
    every = (*from_packages.models(), *from_transformers.models(), *from_vision.models())
    return {model.name: model for model in every}


def chosen(patterns: tuple[str, ...]) -> Iterator[ZooModel]:
    """Those whose name or library matches a pattern; all without one."""
    for model in models().values():
        if not patterns or any(fnmatch(model.name, p) or model.library == p for p in patterns):
            yield model


def named(name: str) -> ZooModel:
    """A model by its name: one of a library, or one of a seed."""
    if name in models():
        return models()[name]
    from .chance import network

    return network.named(name)
