"""The file or database of a study, opened so that several processes may work on it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import EdgepressError, InputError
from ...profiles.reading.opened import in_words, opened

if TYPE_CHECKING:
    import optuna
    import sqlalchemy

HEARTBEAT, GRACE = 5, 60  # seconds
CREATIONS = 5
_GIVE = (
    "Give a file on a disk that has space: a new one, one that `edgepress tune` made; or the URL of a database such as "
    "postgresql://..."
)


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
    url = storage if "://" in storage else f"sqlite:///{Path(storage).absolute()}"
    if "://" not in storage:
        _prepare(Path(storage))
    made = _created(storage, url, lost)
    if _is_local(url):
        _isolate(made.engine)
    return made


def _is_local(url: str) -> bool:
    return url.startswith("sqlite")


def _prepare(path: Path) -> None:
    """Make the directory of a file, and see that a file which is there can be opened."""
    path.absolute().parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path):
        with opened(path, hint=_GIVE):  # SQLite waits for a pipe
            pass


def _created(
    storage: str,
    url: str,
    lost: Callable[[optuna.Study, optuna.trial.FrozenTrial], None],
    attempts: int = CREATIONS,
) -> optuna.storages.RDBStorage:
    """The database with the tables of Optuna, whichever process made them."""
    import sqlalchemy as sa

    try:
        return _storage(url, lost)
    except (sa.exc.OperationalError, sa.exc.IntegrityError) as error:
        # Two processes that create the tables of one new database at the same time: the loser looks again.
        raced = isinstance(error, sa.exc.IntegrityError) or "already exists" in str(error)
        if attempts == 1 or not raced:
            raise _unreadable(storage, error) from error
    except (sa.exc.SQLAlchemyError, ImportError, RuntimeError) as error:
        raise _unreadable(storage, error) from error
    return _created(storage, url, lost, attempts - 1)


def _storage(url: str, lost: Callable[[optuna.Study, optuna.trial.FrozenTrial], None]) -> optuna.storages.RDBStorage:
    import optuna

    class Storage(optuna.storages.RDBStorage):
        def record_heartbeat(self, trial_id: int) -> None:
            # In a thread of its own, whose traceback nobody asked for: the trial itself will write, and say it.
            with suppress(optuna.exceptions.StorageInternalError):
                super().record_heartbeat(trial_id)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return Storage(
            url,
            engine_kwargs={"connect_args": {"timeout": 60}} if _is_local(url) else {},
            heartbeat_interval=HEARTBEAT,
            grace_period=GRACE,
            heartbeat_stale_trial_callback=lost,
        )


@contextmanager
def explained(storage: str, *also: type[Exception]) -> Iterator[None]:
    """Inside, Optuna works on the study; what its database cannot read or write is told in one message.

    Args:
        also: what else a damaged study raises there.

    Raises:
        InputError: the database is damaged, cannot be reached, or its disk is full.
    """
    import optuna
    import sqlalchemy as sa

    raised: tuple[type[Exception], ...] = (sa.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, *also)
    try:
        yield
    except EdgepressError:
        raise
    except raised as error:
        raise _unreadable(storage, error, "read or written") from error


def _unreadable(storage: str, error: Exception, what: str = "opened") -> InputError:
    """What Optuna says of a database is what SQLAlchemy said, and that is what the driver said."""
    cause = error
    while isinstance(cause.__cause__, Exception):
        cause = cause.__cause__
    reason = in_words(getattr(cause, "orig", None) or cause)
    return InputError(f"{storage} cannot be {what} as a study: {reason}.", hint=_GIVE)


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
