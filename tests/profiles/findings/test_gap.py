"""What is missing, by what it is about; and as reports of schema 1 had it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, TypeAdapter

from edgepress.profiles.findings.gap import Gap, joined, of_schema_1, why_missing

READ: TypeAdapter[tuple[Gap, ...]] = TypeAdapter(Annotated[tuple[Gap, ...], BeforeValidator(of_schema_1)])


def test_of_the_same_thing_the_later_word_counts() -> None:
    one, two = Gap(about="engine", why="a"), Gap(about="steady", why="b", subject="fp32")
    later = (Gap(about="steady", why="c", subject="fp32"), Gap(about="steady", why="d", subject="engine"))
    assert [gap.why for gap in joined((one, two), later)] == ["a", "c", "d"]
    assert why_missing((one, two), "steady", "nothing") == "b"
    assert why_missing((one,), "task", "nothing") == "nothing"


def test_a_mapping_of_sentences_is_read() -> None:
    keys = (
        "engine",
        "engine run",
        "steady fp32",
        "disturbed a clock fell from 3 to 2 GHz",
        "x y",
        "disturbed",
    )
    gaps = READ.validate_python({key: f"{key}." for key in keys})
    assert [(gap.about, gap.subject) for gap in gaps] == [
        ("engine", ""),
        ("run", ""),
        ("steady", "fp32"),
        ("disturbed", "a clock fell from 3 to 2 GHz"),
        ("other", "x y"),
        ("disturbed", ""),
    ]
    assert [gap.why for gap in gaps] == [f"{key}." for key in keys]
    assert READ.validate_python(TypeAdapter(tuple[Gap, ...]).dump_python(gaps)) == gaps
