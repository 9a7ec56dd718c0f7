"""What follows from a budget that was missed: the bundle stays, as evidence, and the command fails."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import BudgetError
from .bundle import Bundle
from .seal import load_report


def require_budgets(bundles: Sequence[Bundle]) -> None:
    """Fail where a bundle's report says that a limit was missed.

    Raises:
        BudgetError: naming each bundle and each limit, with what was measured against what was asked.
    """
    missed = [
        f"{bundle.path}: {verdict.what}: {verdict.said}."
        for bundle in bundles
        for verdict in load_report(bundle.path).budget
        if verdict.status == "missed"
    ]
    if missed:
        raise BudgetError(
            "\n".join(["The budget was missed; the bundle was written all the same.", *missed]),
            hint="`edgepress tune` with the same budget searches for a recipe that meets it.",
        )
