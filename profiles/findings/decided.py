"""Classes, places and rows: what is decided, and how much of that noise may decide otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from .rows import Likes

# Where scores have so many dB or more, the places that they decide differ in proportion to the amplitude of the noise.
_PROPORTIONAL_DB = 10.0
# Of so many decisions one that differs says nothing of how often they do, where it is as likely as that: of noise of
# 30 dB among eight, of 60 dB among 160.
_ONE_OF, _LIKELY = 8, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What of an output is decided: classes, places, and which rows are in a set.

    Attributes:
        of: how many decisions there are; of rows with scores as many as weigh the same (Kish's effective size).
        differ: how many of them differ, a row without a like weighed by its score.
        others_db: of rows, the SQNR of those with a like; None of classes and places.
    """

    of: float
    differ: float
    others_db: float | None = None

    @classmethod
    def of_rows(cls, likes: Likes, others_db: float) -> Decided | None:
        """Of the rows of all feeds; None where the reference has none that counts.

        Where their number is fixed, one that comes in drives another out: that is one decision.
        """
        weights = likes.weights[~likes.more]
        if not (total := float(weights.sum())):
            return None
        of = total**2 / float((weights**2).sum())
        alone = max(float(likes.weights[which].sum()) for which in (likes.missing, likes.more))
        return cls(of=of, differ=of * alone / total, others_db=others_db)

    def reaches(self, least_db: float, *, sure: bool = False) -> bool:
        """Whether few enough differ where `least_db` is asked of amounts, and the others are as close.

        Args:
            sure: one of few that differs counts as well.
        """
        return self._close(least_db) and self.differ <= may_differ(self.of, least_db, sure=sure)

    def is_one_more(self, graph: Decided | None, least_db: float) -> bool:
        """Whether one more differs than where its graph runs, at most, and the others have `least_db`."""
        more = self.differ - (0.0 if graph is None else graph.differ)
        return self._close(least_db) and more <= _by_chance(self.of, least_db)

    def _close(self, least_db: float) -> bool:
        return self.others_db is None or self.others_db >= least_db


def least_of_codes_db(least_db: float) -> float:
    """What is asked of classes and places where `least_db` is asked of amounts, on the scale of `Parity.sqnr_db`.

    A class differs where two scores lie closer than the noise: how many do goes by its amplitude, and not its power.
    Of two normal scores one in ten with 10 dB, with 30 dB one in a hundred (scripts/bench/places.py).
    """
    return min(least_db, (least_db + _PROPORTIONAL_DB) / 2)


def may_differ(of: float, least_db: float, *, sure: bool = False) -> float:
    """How many of so many decisions may differ where `least_db` is asked of amounts.

    Args:
        sure: one of few that differs counts as well.
    """
    return max(_share(least_db) * of, 0.0 if sure else _by_chance(of, least_db))


def _share(least_db: float) -> float:
    return float(10 ** (-least_of_codes_db(least_db) / 10))


def _by_chance(of: float, least_db: float) -> float:
    """How many of so many decisions may differ without saying anything."""
    return 1.0 if of >= _ONE_OF and _share(least_db) * of >= _LIKELY else 0.0
