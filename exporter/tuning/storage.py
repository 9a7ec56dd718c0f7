"""The file or database of a study, opened so that several processes may work on it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InputError

if TYPE_CHECKING:
    import optuna
    import sqlalchemy

HEARTBEAT, GRACE = 5, 60  # seconds
CREATIONS = 5


def open_storage(
    storage: str, lost: Callable[[optuna.Study, optuna.trial.FrozenTrial], None]
) -> optuna.storages.RDBStorage:
    """The database, with transactions that SQLite really isolates.

    Args:
        storage: a path, for SQLite, or a database URL.
        lost: called with a trial whose heartbeat has been missing for GRACE seconds.

    Raises:
        InputError: it cannot be opened, or is no study's.
    """
    import optuna
    import sqlalchemy as sa

    url = storage if "://" in storage else f"sqlite:///{Path(storage).absolute()}"
    local = url.startswith("sqlite")
    if "://" not in storage:
        Path(storage).absolute().parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(CREATIONS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                opened = optuna.storages.RDBStorage(
                    url,
                    engine_kwargs={"connect_args": {"timeout": 60}} if local else {},
                    heartbeat_interval=HEARTBEAT,
                    grace_period=GRACE,
                    heartbeat_stale_trial_callback=lost,
                )
            break
        except (sa.exc.OperationalError, sa.exc.IntegrityError) as error:
            # Two processes that create the tables of one new database at the same time: the loser looks again.
            raced = isinstance(error, sa.exc.IntegrityError) or "already exists" in str(error)
            if attempt == CREATIONS - 1 or not raced:
                raise _unreadable(storage, error) from error
        except (sa.exc.SQLAlchemyError, ImportError, RuntimeError) as error:
            raise _unreadable(storage, error) from error
    if local:
        _isolate(opened.engine)
    return opened


def _unreadable(storage: str, error: Exception) -> InputError:
    reason = str(getattr(error, "orig", error)).splitlines()[0]
    return InputError(
        f"{storage} cannot be opened as a study: {reason}.",
        hint="Give a new file, one that `edgepress tune` made, or the URL of a database such as postgresql://...",
    )


def _isolate(engine: sqlalchemy.Engine) -> None:
    """Begin every transaction of SQLite as a writer.

    Python's driver begins one only at the first write, so that two processes may read the same waiting trial and both
    take it. The recipe is SQLAlchemy's own, "Serializable isolation / Savepoints" of its SQLite dialect.
    """
    import sqlalchemy as sa

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def on_begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections made before this
