"""Whether a machine takes a bundle: by its architecture, its runtime and that runtime's version."""

from __future__ import annotations

import re

from ...backends.base import Backend
from ...backends.registry import load_backend
from ...errors import EdgepressError
from ...profiles.device.target import Target
from ...profiles.machine.environment import this_machine
from ..bundle.manifest import Manifest


def why_not(manifest: Manifest) -> str:
    """Why this machine cannot run a bundle, or build its engine and run that; one clause, empty where it can."""
    target, here = manifest.target, this_machine().arch
    if target.arch not in ("any", here):
        return f"it is for {target.arch}, and this machine is {here}"
    try:
        backend = load_backend(manifest.engine.backend)
    except EdgepressError as error:
        return error.message.rstrip(".")
    if manifest.engine.path is None:
        return backend.obstacle(target) or _missing(backend) or _too_old(backend, target)
    return _missing(backend) or _of_another_version(backend, manifest)


def _missing(backend: Backend) -> str:
    here = backend.available()
    return "" if here.run else here.reason


def _of_another_version(backend: Backend, manifest: Manifest) -> str:
    by = next((step.by for step in manifest.lineage if step.what == "compile"), "")
    return backend.why_not_opened(by) if by else ""


def _too_old(backend: Backend, target: Target) -> str:
    """What is still to be built was written for a version, whose parser an older one may not match."""
    runtime, _, here = backend.available().version.partition(" ")
    needed = target.toolchain.versions.get(runtime, "")
    if not needed or _release(here) >= _release(needed):
        return ""
    return f"its graph is written for {runtime} {needed}, and this machine has {here}"


def _release(version: str) -> tuple[int, ...]:
    """Major and minor of a version; what follows mends faults and reads the same graphs."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
