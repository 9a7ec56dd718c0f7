"""What a person sees while an export runs; silent unless a terminal is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

Advance = Callable[[float | None, str], None]


@dataclass(slots=True)
class Progress:
    """Steps with a bar each. Without a display it only takes the times."""

    display: RichProgress | None = None

    @contextmanager
    def step(self, title: str, seconds: dict[str, float], prefix: str = "") -> Iterator[Advance]:
        """One step, shown behind the prefix, whose wall time goes into `seconds` under its title.

        The block may call `advance(share, note)` with the finished share, 0..1, None where it is unknown.
        """
        start = time.perf_counter()
        task = None if self.display is None else self.display.add_task(prefix + title, total=None, note="")

        def advance(share: float | None, note: str = "") -> None:
            if self.display is not None and task is not None:
                total, done = (None, 0.0) if share is None else (1.0, share)
                self.display.update(task, total=total, completed=done, note=note)

        try:
            yield advance
        finally:
            taken = time.perf_counter() - start
            seconds[title] = taken
            if self.display is not None and task is not None:
                self.display.update(task, total=1.0, completed=1.0, note=f"{taken:.1f} s")


@contextmanager
def progress(*, quiet: bool) -> Iterator[Progress]:
    """Progress bars on standard error; none when quiet, when it is not a terminal, or for another process's work."""
    import sys

    from ..profiles.machine.processes import rank

    if quiet or rank() > 0 or not sys.stderr.isatty():
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as display:
        yield Progress(display=display)


def counted(advance: Advance) -> Callable[[int], None]:
    """Report a growing number of samples as a note: count and samples a second."""
    start = time.perf_counter()

    def seen(samples: int) -> None:
        advance(None, f"{samples} samples, {samples / max(time.perf_counter() - start, 1e-9):.0f}/s")

    return seen
