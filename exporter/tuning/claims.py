"""Which trial works on which point: one row a point, so that two processes never finish the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from ...profiles.findings.point import SearchPoint

if TYPE_CHECKING:
    import sqlalchemy


class Claims:
    """Which trial works, or worked, on which point: a table with a unique key beside Optuna's own."""

    def __init__(self, engine: sqlalchemy.Engine, study: str) -> None:
        import sqlalchemy as sa

        self._engine, self._study = engine, study
        self._table = sa.Table(
            "edgepress_claims",
            sa.MetaData(),
            sa.Column("study", sa.String(255), primary_key=True),
            sa.Column("point", sa.String(64), primary_key=True),
            sa.Column("trial", sa.Integer, nullable=False),
        )
        self._table.create(engine, checkfirst=True)

    def claim(self, point: SearchPoint, number: int, dead: Callable[[], Collection[int]]) -> bool:
        """Whether the point is this trial's from now on: nobody had it, or the trial that had it died.

        Args:
            dead: numbers of the trials that died; asked only where somebody had it.
        """
        import sqlalchemy as sa

        key, table = key_of(point), self._table
        mine = (table.c.study == self._study) & (table.c.point == key)
        try:
            with self._engine.begin() as connection:
                connection.execute(table.insert().values(study=self._study, point=key, trial=number))
        except sa.exc.IntegrityError:
            with self._engine.begin() as connection:
                holder = connection.execute(sa.select(table.c.trial).where(mine)).scalar_one()
            if holder not in dead():
                return False
            with self._engine.begin() as connection:
                taken = connection.execute(table.update().where(mine & (table.c.trial == holder)).values(trial=number))
            return taken.rowcount == 1
        return True

    def keys(self, dead: Collection[int]) -> set[str]:
        """Keys of the points that are taken, but by trials that died."""
        import sqlalchemy as sa

        with self._engine.begin() as connection:
            rows = connection.execute(
                sa.select(self._table.c.point, self._table.c.trial).where(self._table.c.study == self._study)
            ).all()
        return {point for point, trial in rows if trial not in dead}


def key_of(point: SearchPoint) -> str:
    """The digest of a point."""
    return hashlib.sha256(json.dumps(point, sort_keys=True).encode()).hexdigest()
