"""How many classes and places agree where the scores that decide them have so many dB of SQNR.

Simulated: scores are drawn, noise of so many dB is added, and the largest is looked for in both. It is what is asked of
outputs that are classes or places beside what is asked of floats (`least_of_codes_db`, decision 117).

    python scripts/bench/places.py
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgepress.profiles.findings.decided import least_of_codes_db

ROWS = 200_000
LEVELS = (3.0, 10.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0)
CLASSES = (2, 10, 100)
# Of a network that has learned something one class stands out: by how many deviations of the others.
LEARNED = 3.0
Values = npt.NDArray[np.float64]


def scores(classes: int, drawn: np.random.Generator, *, learned: bool) -> Values:
    """Scores of `ROWS` samples."""
    found = drawn.normal(size=(ROWS, classes))
    if learned:
        found[np.arange(ROWS), drawn.integers(classes, size=ROWS)] += np.abs(drawn.normal(size=ROWS)) * LEARNED
    return found


def agreement(right: Values, db: float, drawn: np.random.Generator) -> float:
    """Share of rows whose largest score is the same one beside noise of so many dB."""
    noise = drawn.normal(size=right.shape) * np.sqrt(np.mean(right**2) / 10 ** (db / 10))
    return float(np.mean(right.argmax(-1) == (right + noise).argmax(-1)))


def main() -> None:
    """Print the table."""
    drawn = np.random.default_rng(0)
    cases = [(count, learned) for learned in (False, True) for count in CLASSES]
    drawings = [scores(count, drawn, learned=learned) for count, learned in cases]
    named = " | ".join(f"{count} {'learned' if learned else 'normal'}" for count, learned in cases)
    print(f"| dB | {named} | asked |\n|---:|{'---:|' * (len(cases) + 1)}")
    for db in LEVELS:
        shares = " | ".join(f"{agreement(right, db, drawn):.2%}" for right in drawings)
        print(f"| {db:g} | {shares} | {1 - 10 ** (-least_of_codes_db(db) / 10):.2%} |")


if __name__ == "__main__":
    main()
