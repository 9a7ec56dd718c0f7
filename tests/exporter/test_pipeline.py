"""The order of an export: every stage says what it needs and adds, and the state stays small."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from edgepress.exporter.bundle import pack
from edgepress.exporter.draft import Draft
from edgepress.exporter.pipeline import PLAN, Stage

FIELDS = {field.name: field for field in fields(Draft)}
INITIAL = {name for name, field in FIELDS.items() if field.default is MISSING and field.default_factory is MISSING}
# What a stage finds may be nothing, and has then no value but this.
OPTIONAL = {"original", "restore", "pruning", "training", "timed"}
# What the loop notes itself, whatever stage it was.
NOTED = {"lineage"}


def test_the_draft_stays_small() -> None:
    assert len(FIELDS) <= 15


def test_the_order_is_that_of_the_design() -> None:
    assert [stage.title for stage in PLAN] == ["prune", "train", "capture", "candidates", "measure", "choose"]


def test_what_a_stage_needs_was_there_or_was_added_before() -> None:
    known = INITIAL | OPTIONAL | NOTED
    for stage in PLAN:
        assert set(stage.needs) <= known, stage.title
        assert set(stage.adds) <= FIELDS.keys(), stage.title
        known |= set(stage.adds)
    assert set(pack.NEEDS) <= known
    assert known == FIELDS.keys()  # nothing in the draft is filled by nobody


@pytest.mark.parametrize("stage", PLAN, ids=lambda stage: stage.title)
def test_a_stage_is_given_what_it_says(stage: Stage) -> None:
    takes = set(inspect.signature(stage.run).parameters)
    assert takes == {*stage.needs, "advance", *(["watch"] if stage.watched else [])}


def _draft() -> Any:
    return Draft(source=None, target=None, recipe=None, axes={}, workshop=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", PLAN, ids=lambda stage: stage.title)
def test_a_stage_that_is_run_too_early_is_named(stage: Stage) -> None:
    early = [name for name in stage.needs if name not in INITIAL | OPTIONAL]
    if not early:
        pytest.skip("it needs nothing of another stage")
    with pytest.raises(LookupError, match=f"{stage.title}.*{early[0]}"):
        stage.on(_draft(), lambda share, note="": None)


def test_a_stage_that_adds_what_it_did_not_say_is_named() -> None:
    def run(*, source: Any, advance: Any) -> Mapping[str, Any]:
        return {"pruning": 1}

    sly = Stage(title="sly", run=run, needs=("source",), adds=("training",))
    with pytest.raises(LookupError, match=r"sly.*pruning"):
        sly.on(_draft(), lambda share, note="": None)


def test_the_types_of_a_stage_are_those_of_the_draft() -> None:
    """A need may be narrower than the field only by being there."""
    draft = get_type_hints(Draft, localns=_names())
    for stage in PLAN:
        hints = get_type_hints(stage.run, localns=_names())
        for name in stage.needs:
            wide, narrow = draft[name], hints[name]
            assert narrow == wide or wide == narrow | None, (stage.title, name)


def _names() -> dict[str, Any]:
    from torch import nn

    return {"nn": nn}


def test_the_architecture_page_says_what_the_plan_says() -> None:
    page = (Path(__file__).parents[2] / "docs/architecture.md").read_text()
    for stage in PLAN:
        room = stage.run.__module__.split(".")[2]
        row = f"| {stage.title} | `{room}/` | {', '.join(stage.needs)} | {', '.join(stage.adds)} |"
        assert row in page, row


def test_the_architecture_page_lists_the_rooms_of_the_contracts() -> None:
    root = Path(__file__).parents[2]
    page, contracts = (root / "docs/architecture.md").read_text(), (root / "pyproject.toml").read_text()
    for container in ("exporter", "profiles"):
        layers = re.search(rf'containers = \["edgepress\.{container}"\].*?layers = \[(.*?)\]', contracts, re.DOTALL)
        assert layers is not None
        rooms = [room for line in re.findall(r'"(.*?)"', layers[1]) for room in line.split(" | ")]
        told = page[page.index(f"`{container}/`: ") :].split("\n\n")[0]
        assert re.findall(r"`(\w+)`", told) == rooms
