"""Where the verdicts go: a CI system's summary, JUnit XML, a history file, a tracking server."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ...profiles.machine.environment import now
from ...profiles.machine.writing import write_whole
from .junit import junit
from .outcome import Outcome
from .summary import markdown

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlets:
    """Files that are written whole or not at all; None writes none.

    Attributes:
        summary: write Markdown: to `summary_file`, else the file that GITHUB_STEP_SUMMARY names, else standard output.
        summary_file: is replaced; a step's summary is appended to.
        history: gets a line for each bundle.
        mlflow: the URI of a tracking server.
    """

    summary: bool = False
    summary_file: Path | None = None
    junit: Path | None = None
    history: Path | None = None
    mlflow: str | None = None

    @property
    def to_standard_output(self) -> bool:
        """Whether the Markdown goes there."""
        return self.summary and self.summary_file is None and not os.environ.get(STEP_SUMMARY)

    def check(self) -> None:
        """Fail before minutes are spent.

        Raises:
            InputError: a file cannot be written there, or the client of the tracking server is not installed.
        """
        for file in (self.summary_file, self.junit, self.history):
            if file is not None and (file.is_dir() or not os.access(file.absolute().parent, os.W_OK | os.X_OK)):
                why = "it is a directory" if file.is_dir() else f"{file.parent} is no writable directory"
                raise InputError(f"{file} cannot be written: {why}.", hint="Name a file in a directory that exists.")
        if self.mlflow is not None:
            from .tracking import require_client

            require_client()

    def write(self, outcomes: Sequence[Outcome], problem: str, failing: frozenset[str]) -> None:
        """Write everything that was asked for."""
        if self.summary or self.summary_file is not None:
            self._summary(markdown(outcomes, problem))
        if self.junit is not None:
            write_whole(self.junit, junit(outcomes, now(), failing))
        found = [outcome for outcome in outcomes if outcome.report is not None]
        if self.history is not None and found:
            from .recording import append, of_outcome

            append(self.history, [of_outcome(outcome) for outcome in found])

    def track(self, outcomes: Sequence[Outcome]) -> None:
        """Tell the tracking server, which may fail where the files do not.

        Raises:
            InputError: it does not answer, or refuses.
        """
        if self.mlflow is not None:
            from .tracking import log

            for outcome in outcomes:
                if outcome.report is not None:
                    log(self.mlflow, outcome)

    def _summary(self, text: str) -> None:
        step = os.environ.get(STEP_SUMMARY)
        if self.summary_file is not None:
            write_whole(self.summary_file, text)
        elif step:
            # One call: another step's text is neither cut nor mixed with this one.
            with open(step, "ab", buffering=0) as file:
                file.write(f"{text}\n".encode())
        else:
            sys.stdout.write(f"{text}\n")
