"""Append runs to a history file, from as many processes as there are."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.registry import load_backend
from ...profiles.budget.figure import Figure
from ...profiles.findings.figures import of_profile, of_report
from ...profiles.findings.history import Run, line
from ...profiles.machine.naming import naming
from ..bundle.manifest import load_bundle

if TYPE_CHECKING:
    from ...profiles.findings.profile import Profile
    from .outcome import Outcome


def append(path: Path, runs: Sequence[Run]) -> None:
    """One line a run, all of them together.

    A lock keeps writers apart. A line that a kill or a full disk cut off stays as it is, and the next one begins on a
    line of its own; what was written here in part, because the disk is full, is taken back.
    """
    data = "".join(line(run) for run in runs).encode()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        end = os.fstat(descriptor).st_size
        if end and os.pread(descriptor, 1, end - 1) != b"\n":
            data = b"\n" + data
        try:
            with naming(path):
                _write(descriptor, data)
        except OSError:
            os.ftruncate(descriptor, end)
            raise
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def of_outcome(outcome: Outcome) -> Run:
    """The line of a bundle and its verdicts."""
    report = outcome.report
    assert report is not None and outcome.path is not None
    manifest = load_bundle(outcome.path).manifest
    backend = load_backend(report.backend).available()
    return Run(
        kind="export",
        date=report.date,
        model=report.model,
        target=report.target,
        precision=report.precision,
        runtime=backend.version,
        source=manifest.model.source_digest,
        figures={name: one for name, one in of_report(report).items() if isinstance(one, Figure)},
        machine=report.machine,
        tools=report.tools,
        verdicts={one.what: one.status for one in outcome.verdicts if one.status != "unlimited"},
        threads=report.threads if report.latency else 0,
        commit=commit(),
    )


def of_measurement(profile: Profile, model: str | None = None) -> Run:
    """The line of a profile.

    Args:
        model: of the bundle that was profiled.
    """
    measured = profile.measured
    return Run(
        kind="profile",
        date=profile.date,
        model=model or measured.name,
        target=measured.target,
        precision=measured.precision,
        runtime=measured.runtime,
        source=measured.digest,
        figures={name: one for name, one in of_profile(profile).items() if isinstance(one, Figure)},
        machine=profile.setup.machine,
        tools=profile.setup.tools,
        threads=profile.setup.threads,
        commit=commit(),
    )


def commit() -> str:
    """The commit of the repository around the working directory; empty where there is none, or no git."""
    found = _git("rev-parse", "HEAD")
    return f"{found}-dirty" if found and _git("status", "--porcelain", "--untracked-files=no") else found


def _git(*words: str) -> str:
    try:
        done = subprocess.run(("git", *words), capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
