"""What the targets of one run share."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import NoReturn

import pytest

import edgepress
from edgepress.errors import InputError
from edgepress.exporter.pipeline import export_bundles
from edgepress.exporter.progress import Progress
from edgepress.exporter.sources import source_from_object
from edgepress.exporter.workshop import Memo


class Large:
    """Stands for a model, or data."""


def test_a_value_that_cannot_be_made_is_tried_once_and_holds_on_to_nothing(tmp_path: Path) -> None:
    memo, tries = Memo(directory=tmp_path), list[weakref.ref[Large]]()

    def make() -> NoReturn:
        large = Large()
        tries.append(weakref.ref(large))
        raise InputError("it cannot be made")

    for _ in range(2):
        with pytest.raises(InputError, match="it cannot be made"):
            memo.once("kind", "key", make)
    gc.collect()
    assert [alive() for alive in tries] == [None]


def test_a_target_that_failed_holds_on_to_nothing_while_the_others_are_made(tmp_path: Path) -> None:
    import torch

    source = source_from_object(torch.nn.Linear(3, 2), {"input": torch.ones(2, 3)}, name="net")
    held: list[weakref.ref[Large]] = []

    def destination(target: edgepress.Target) -> Path:
        large = Large()
        held.append(weakref.ref(large))
        if target.name == "android-arm64":
            raise InputError("not this one")
        assert held[0]() is None
        return tmp_path / target.name

    targets = [edgepress.load_target(name) for name in ("mobile", "server-cpu")]
    recipe = edgepress.Recipe(precision="fp32", measure=False)
    with pytest.raises(edgepress.TargetsError, match="android-arm64: not this one"):
        export_bundles(source, targets, recipe, destination, Progress(), force=False, command="")
    assert (tmp_path / "server-cpu/manifest.json").is_file()
