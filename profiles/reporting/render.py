"""The views of a page by the names that a user types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..findings.files import json_text
from .html import html
from .markdown import markdown
from .page import document_of, page_of
from .reportable import Reportable

Form = Literal["html", "md", "json"]


def rendered(subjects: Sequence[Reportable], form: Form, date: str) -> str:
    """One report on all subjects.

    Args:
        subjects: at least one.
        date: of the report.
    """
    if form == "json":
        return json_text(document_of(subjects, date))
    page = page_of(subjects, date)
    return html(page) if form == "html" else markdown(page)
