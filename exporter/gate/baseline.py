"""An earlier bundle to compare with: where it is, and that it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import EdgepressError, InputError
from ...profiles.machine.given import as_typed
from ..bundle.manifest import MANIFEST, Bundle, check_files, load_bundle
from ..bundle.seal import load_report


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """A bundle, or a directory of bundles, one for each target.

    Attributes:
        optional: go on without where there is none; one that is there and broken is an error in any case.
    """

    path: Path
    optional: bool = False

    def check(self, targets: Mapping[str, Path]) -> None:
        """Fail before minutes are spent.

        Args:
            targets: where each target's new bundle goes.

        Raises:
            InputError: a baseline is missing or broken, or would be replaced.
        """
        for target, destination in targets.items():
            found = self.find(target)
            if found is not None and found.path.resolve() == destination.resolve():
                raise InputError(
                    f"{as_typed(found.path)} is the baseline and would be replaced.",
                    hint="Move it, as to a directory `previous`, or choose another --output.",
                )

    def find(self, target: str) -> Bundle | None:
        """The bundle of that target, intact; None where there is none and that is allowed.

        Raises:
            InputError: there is none, there are several, or it is broken.
        """
        manifests = [self.path / MANIFEST, *sorted(self.path.glob(f"*/{MANIFEST}"))]
        # What is hidden is being made, or was left by a process that was killed.
        hidden = [file for file in manifests[1:] if file.parent.name.startswith(".")]
        there = [file.parent for file in manifests if file.is_file() and file not in hidden]
        bundles = [_intact(path) for path in there]
        fitting = [bundle for bundle in bundles if bundle.manifest.target.name == target]
        if len(fitting) > 1:
            several = ", ".join(bundle.path.name for bundle in fitting)
            raise InputError(
                f"Baseline {as_typed(self.path)} has several bundles for {target}: {several}.", hint="Name one."
            )
        if fitting:
            return fitting[0]
        if self.optional:
            return None
        if not self.path.is_dir():
            held = "does not exist" if not self.path.exists() else "is no directory"
        else:
            names = sorted({bundle.manifest.target.name for bundle in bundles})
            held = f"has no bundle for {target}, only for {', '.join(names)}" if names else "has no bundle"
        raise InputError(
            f"Baseline {as_typed(self.path)} {held}.",
            hint="Give the directory of an earlier export; on a first run, add --baseline-optional.",
        )


def _intact(path: Path) -> Bundle:
    try:
        bundle = load_bundle(path)
        check_files(bundle)
        load_report(path)
    except EdgepressError as error:
        raise InputError(
            f"The baseline is broken: {error.message}", hint="Restore it, or export it again from the earlier revision."
        ) from error
    return bundle
