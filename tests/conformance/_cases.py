"""Every backend in float, and in the int8 of each scheme that a built-in target gives it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Literal

from edgepress.backends.registry import backend_names
from edgepress.profiles.device.precision import PrecisionName
from edgepress.profiles.device.target import Scheme, Target, Toolchain, load_target, target_names

_TARGETS = [load_target(name) for name in target_names()]
# Schemes lie in files of their own, and targets name them; `test_no_scheme_is_left_out` sees that none is missing here.
SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme for scheme in sorted((t.scheme for t in _TARGETS if t.scheme), key=lambda scheme: scheme.name)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One backend at one precision.

    Attributes:
        fits: the scheme is for this machine's architecture, so that integer kernels are promised here.
    """

    backend: str
    precision: PrecisionName
    scheme: Scheme | None = None
    fits: bool = True

    def __str__(self) -> str:
        return f"{self.backend}-{self.precision}" + (f"-{self.scheme.name}" if self.scheme else "")

    @property
    def target(self) -> Target:
        """A target of this machine."""
        return Target(
            name="here",
            title="Here",
            arch=arch(),
            backend=self.backend,
            precisions=("int8", "fp32") if self.scheme else ("fp32",),
            scheme=self.scheme,
            toolchain=Toolchain(name="here", opset=17, versions={}, source="test"),
        )


def arch() -> Literal["x86_64", "aarch64", "any"]:
    """The architecture of this machine, as targets say it."""
    machine = platform.machine()
    return "x86_64" if machine == "x86_64" else "aarch64" if machine == "aarch64" else "any"


def _eighths(backend: str) -> list[Case]:
    archs: dict[str, set[str]] = {}
    for target in _TARGETS:
        if target.scheme and target.backend == backend:
            archs.setdefault(target.scheme.name, set()).add(target.arch)
    return [
        Case(backend=backend, precision="int8", scheme=SCHEMES[name], fits=not found.isdisjoint({"any", arch()}))
        for name, found in sorted(archs.items())
    ]


FLOATS = [Case(backend=name, precision="fp32") for name in backend_names()]
CASES = [case for float_case in FLOATS for case in (float_case, *_eighths(float_case.backend))]
