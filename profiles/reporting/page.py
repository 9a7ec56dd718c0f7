"""The page of several subjects, and the document that programs read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from ..findings.comparison import Comparison
from ..findings.profile import Profile
from ..findings.report import Report
from ..machine.environment import installed
from .bundle import bundle_part
from .compared import comparison_part, overview
from .content import Page, Part
from .measured import profile_part
from .reportable import BundleFindings, Reportable, Trends
from .trends import history_part

SCHEMA = 1
KIND = "edgepress report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What `edgepress report --format json` writes: the page as data, and the reports of the bundles on it."""

    schema: int = SCHEMA
    kind: Literal["edgepress report"] = "edgepress report"
    page: Page
    reports: tuple[Report, ...]


def page_of(subjects: Sequence[Reportable], date: str) -> Page:
    """One part for each subject, and what bundles have in common.

    Args:
        subjects: at least one.
        date: of the page.
    """
    parts = tuple(map(_part, subjects))
    bundles = [subject for subject in subjects if isinstance(subject, BundleFindings)]
    title = parts[0].title if len(parts) == 1 else _title(bundles, len(subjects))
    made = f"Made by edgepress {installed('edgepress') or 'from source'} on {date}."
    return Page(title=title, overview=overview(bundles), parts=parts, made=made)


def document_of(subjects: Sequence[Reportable], date: str) -> Document:
    """The page, and the reports behind it."""
    reports = tuple(subject.report for subject in subjects if isinstance(subject, BundleFindings))
    return Document(page=page_of(subjects, date), reports=reports)


def _part(subject: Reportable) -> Part:
    if isinstance(subject, Profile):
        return profile_part(subject)
    if isinstance(subject, Trends):
        return history_part(subject.history, subject.name)
    return comparison_part(subject) if isinstance(subject, Comparison) else bundle_part(subject)


def _title(bundles: Sequence[BundleFindings], count: int) -> str:
    models = {found.report.model for found in bundles}
    if len(bundles) == count and len(models) == 1:
        return (
            f"{models.pop()} for {count} targets" if len({b.report.target for b in bundles}) == count else models.pop()
        )
    return f"{count} reports"


class _Schema(GenerateJsonSchema):
    """JSON has no infinity: such a float is written as a text."""

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {"anyOf": [super().float_schema(schema), {"enum": ["Infinity", "-Infinity", "NaN"]}]}


def json_schema() -> str:
    """The JSON schema of a bundle's `report.json` and of the document."""
    adapter: TypeAdapter[Any] = TypeAdapter(Report | Document)
    return (
        json.dumps(adapter.json_schema(mode="serialization", schema_generator=_Schema), indent=2, sort_keys=True) + "\n"
    )


if __name__ == "__main__":
    print(json_schema(), end="")
