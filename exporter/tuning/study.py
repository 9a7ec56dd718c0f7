"""The study: opened for one model only, worked on by any number of processes, killed at any time.

Optuna keeps trials and proposes points. On top of it:

- A study says which model, target, data and settings it is of, and is refused to any other.
- A point is claimed by an insert into a table with a unique key before work on it begins, so that of two processes that
  propose the same point at the same time one goes on. A claim outlives its trial, unless that trial died.
- A trial whose process died is failed and its point queued again: at once where the process ran on this machine, else
  when its heartbeat has been missing for `storage.GRACE` seconds.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ...errors import InputError
from ...profiles.findings.point import SearchPoint, Value
from .claims import Claims, key_of
from .owner import is_dead, me
from .result import Result, load_result
from .space import Dimension, Space
from .storage import explained, open_storage

if TYPE_CHECKING:
    import optuna

PROPOSALS = 20  # in a row that another process may be faster at
_AGAIN = "Give another --storage, or delete the file to begin anew."
ATTEMPTS = 3  # of a point whose trials die: it may be what kills them
IDENTITY, RESULT, OWNER, ATTEMPT, DUPLICATE = "identity", "result", "owner", "attempt", "duplicate"
Identity = Mapping[str, str]


class DuplicateError(Exception):
    """The proposed point is another trial's."""


class Study:
    """One search, shared by all processes that open the same storage."""

    def __init__(self, inner: optuna.Study, claims: Claims, storage: str, seed: int) -> None:
        self._inner, self._claims, self._storage, self._seed = inner, claims, storage, seed

    def agreed(self, what: str, value: Any) -> Any:
        """What the first process of the study said of something; this one's value if it is the first."""
        if what not in self._inner.user_attrs:
            self._inner.set_user_attr(what, value)
        return self._inner.user_attrs[what]

    def results(self, *, early: bool = False) -> list[Result]:
        """What finished trials found, in the order of their numbers; those given up early only where asked for."""
        from optuna.trial import TrialState

        states = (TrialState.COMPLETE, TrialState.PRUNED) if early else (TrialState.COMPLETE,)
        trials = self._inner.get_trials(deepcopy=False, states=states)
        return [load_result(trial.user_attrs[RESULT]) for trial in trials if RESULT in trial.user_attrs]

    def finished(self) -> int:
        """Trials that need not be run again."""
        return len(self.results(early=True))

    def recover(self) -> list[int]:
        """Queue the points of this machine's dead processes again; numbers of the trials that these had left."""
        from optuna.trial import TrialState

        dead = [
            trial
            for trial in self._inner.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if is_dead(trial.user_attrs.get(OWNER, ""))
        ]
        for trial in dead:
            try:
                self._inner.tell(trial.number, state=TrialState.FAIL)
            except ValueError:
                continue  # another process was faster
            _queue_again(self._inner, trial)
        return [trial.number for trial in dead]

    def queue(self, points: Sequence[SearchPoint]) -> None:
        """Let these be the next ones, unless they were tried or queued before."""
        for point in points:
            self._inner.enqueue_trial(dict(point), skip_if_exists=True)

    def run(
        self, space: Space, objective: Callable[[int, SearchPoint], Result], values: Callable[[Result], Sequence[float]]
    ) -> bool:
        """Try one point of the space; False where every one has been tried or is being tried.

        Args:
            objective: of the trial's number and point.
            values: what of the result is minimised; asked only where it was not given up early.

        Raises:
            Whatever the objective raises; its point is then queued again, unless it is a fault of the code.
        """
        for _ in range(PROPOSALS):
            taken = self._try(space, objective, values)
            if taken is None:
                return True
            if not self._queue_near(space, taken):
                return False
        return True

    def _try(
        self, space: Space, objective: Callable[[int, SearchPoint], Result], values: Callable[[Result], Sequence[float]]
    ) -> SearchPoint | None:
        """Try the point that is proposed; that point, where it is another trial's."""
        import optuna

        done, taken = False, None

        def wrapped(trial: optuna.Trial) -> Sequence[float]:
            nonlocal done, taken
            trial.set_user_attr(OWNER, me())
            with explained(self._storage, ValueError):  # the ranges of its settings were changed
                point = space.suggest(lambda dimension: _suggested(trial, dimension))
            if not self._claims.claim(point, trial.number, self._dead):
                taken = point
                trial.set_user_attr(DUPLICATE, True)
                raise DuplicateError
            result = objective(trial.number, point)
            done = True
            trial.set_user_attr(RESULT, result.dump())
            if result.early:
                raise optuna.TrialPruned(result.early)
            return values(result)

        self._inner.sampler = self._sampler()
        try:
            self._inner.optimize(wrapped, n_trials=1, catch=(DuplicateError,))
        except KeyboardInterrupt:
            self._queue_interrupted()
            raise
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            # A machine that slept: another one took it for dead, and has or had the point.
            if not done:
                raise
        return taken

    def _queue_near(self, space: Space, taken: SearchPoint) -> bool:
        """Queue a point that nobody has, as near as can be to one that somebody has; False where there is none.

        With few settings the sampler proposes what it knows to be good again and again; beside it is a good place too.
        """
        claimed = self._claims.keys(self._dead())
        unseen = [point for point in space.points() if key_of(point) not in claimed]
        if unseen:
            nearest = min(space.distance(taken, point) for point in unseen)
            among = [point for point in unseen if space.distance(taken, point) <= nearest]
            self._inner.enqueue_trial(random.Random(f"{self._seed} {len(claimed)} {os.getpid()}").choice(among))
        return bool(unseen)

    def _queue_interrupted(self) -> None:
        from optuna.trial import TrialState

        mine = [t for t in self._inner.get_trials(deepcopy=False) if t.user_attrs.get(OWNER) == me()]
        if mine and mine[-1].state is TrialState.FAIL and DUPLICATE not in mine[-1].user_attrs:
            _queue_again(self._inner, mine[-1], counts=False)

    def _dead(self) -> set[int]:
        """Numbers of the trials whose points may be tried again."""
        from optuna.trial import TrialState

        failed = self._inner.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        return {trial.number for trial in failed if trial.user_attrs.get(ATTEMPT, 1) < ATTEMPTS}

    def _sampler(self) -> optuna.samplers.BaseSampler:
        """Seeded by the number of trials there are, so that a search that goes on does not propose the same again."""
        import optuna

        seed = int(
            hashlib.sha256(f"{self._seed} {len(self._inner.get_trials(deepcopy=False))}".encode()).hexdigest(), 16
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(seed=seed % 2**32, n_startup_trials=8, multivariate=True, group=True)


def open_study(storage: str, name: str, identity: Identity, *, objectives: int, seed: int) -> Study:
    """Open or create the study, for this model only.

    Args:
        storage: a path, for SQLite, or a database URL.
        name: of the study in it.
        identity: what it is a search for, part by part.
        objectives: how many figures are minimised.

    Raises:
        InputError: the storage cannot be opened or is no study's, is damaged, or the study is of something else.
    """
    # A damaged study is found out here, where nothing but libraries read it.
    with explained(storage, Exception):
        study = _opened(storage, name, objectives, seed)
        stored = study.agreed(IDENTITY, dict(identity))
        study.results(early=True)
    _check_identity(storage, stored, identity)
    return study


def _opened(storage: str, name: str, objectives: int, seed: int) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    opened = open_storage(storage, _queue_again)
    names = optuna.get_all_study_names(opened)
    if "://" not in storage and names and name not in names:
        raise InputError(
            f"{storage} holds the study of {', '.join(names)}, not of {name}.", hint="Give another --storage."
        )
    inner = optuna.create_study(
        storage=opened, study_name=name, directions=["minimize"] * objectives, load_if_exists=True
    )
    inner.get_trials(deepcopy=False)
    return Study(inner, Claims(opened.engine, name), storage, seed)


def _check_identity(storage: str, stored: Identity, identity: Identity) -> None:
    if not isinstance(stored, dict):
        raise InputError(f"{storage} is damaged: it does not say what its study is of.", hint=_AGAIN)
    differ = [part for part in identity if stored.get(part) != identity[part]]
    if differ:
        raise InputError(
            f"{storage} holds a study of something else: its {' and '.join(differ)} "
            f"{'is' if len(differ) == 1 else 'are'} not this one's.",
            hint=_AGAIN,
        )


def _queue_again(study: optuna.Study, trial: optuna.trial.FrozenTrial, *, counts: bool = True) -> None:
    """Queue the point of a trial that died, unless it has died ATTEMPTS times or had no point yet."""
    attempt = trial.user_attrs.get(ATTEMPT, 1) + counts
    if trial.params and DUPLICATE not in trial.user_attrs and attempt <= ATTEMPTS:
        study.enqueue_trial(trial.params, user_attrs={ATTEMPT: attempt})


def _suggested(trial: optuna.Trial, dimension: Dimension) -> Value:
    """As a number where the values are evenly spaced, so that the sampler knows which are near to each other."""
    numbers = sorted(value for value in dimension.values if isinstance(value, int))
    steps = {b - a for a, b in itertools.pairwise(numbers)}
    if len(numbers) == len(dimension.values) and len(steps) == 1:
        return trial.suggest_int(dimension.name, numbers[0], numbers[-1], step=steps.pop())
    return cast(Value, trial.suggest_categorical(dimension.name, dimension.values))
