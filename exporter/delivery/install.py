"""Install a package on a device: take the variant that fits, prove it here, switch to it; or go back.

Nothing here needs torch or onnx.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...errors import EdgepressError, InputError, UnservedError, VerificationError, worst_code
from ...profiles.findings.report import megabytes
from ...profiles.machine.given import as_typed
from ...profiles.machine.naming import naming
from ..bundle.build import build_bundle
from ..bundle.manifest import MANIFEST, SIGNATURE, Manifest, check_files, load_bundle
from ..bundle.signature import signed_files
from ..bundle.signing_keys import PublicKey
from ..bundle.verify import Verification, verify_bundle
from .fitting import why_not
from .package import HINT, Package, Variant, read_package
from .versions import Installation, Version

KEEP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What is in use now.

    Attributes:
        variant: the name of the bundle in the package; empty of what was gone back to.
        proof: None where that version was in use already, and all its files are as they were.
        built: its engine was built here.
        passed: why the variants before it were not taken, by name.
    """

    version: Version
    variant: str = ""
    proof: Verification | None
    built: bool = False
    passed: Mapping[str, str]


def install_package(
    file: Path, directory: Path, *, key: PublicKey | None = None, only: str | None = None, keep: int = KEEP
) -> Installed:
    """Take the first variant of a package that fits this machine and proves itself here, and switch to it.

    Args:
        directory: of this one model on this device; made where it is not there.
        key: of who must have signed every variant.
        only: the name of the one variant to look at.
        keep: how many versions stay, at least 2.

    Raises:
        InputError: no package, no such variant, or another process is installing there.
        UnservedError: no variant fits; why each does not.
        VerificationError: a variant is not signed by the key, damaged, or none that fits proves itself.
    """
    package = read_package(file)
    variants = _asked(package, only)
    place = Installation(directory=directory.absolute())
    with place.alone() as scratch, naming(directory):
        manifests = _manifests(package, variants, scratch / "heads", key)
        run = _Run(package=package, place=place, scratch=scratch, key=key)
        refused: dict[str, EdgepressError] = {}
        for variant in variants:
            taken = run.take(variant, manifests[variant.name])
            if isinstance(taken, EdgepressError):
                refused[variant.name] = taken
                continue
            place.prune(keep, scratch)
            return Installed(
                version=taken[0],
                variant=variant.name,
                proof=taken[1],
                built=manifests[variant.name].engine.path is None,
                passed={name: error.message for name, error in refused.items()},
            )
    raise _none(file, refused)


def go_back(directory: Path) -> Installed:
    """Switch to the version that was in use before, after it has proven itself again.

    Raises:
        InputError: there is none, or another process is installing there.
        VerificationError: it is damaged, or does not do what it did.
    """
    place = Installation(directory=directory.absolute())
    _need_installed(place)
    with place.alone() as scratch:
        if (version := place.before) is None:
            raise InputError(f"{as_typed(directory)} has no version before the current one.")
        proof = verify_bundle(version.path)
        place.switch(version, scratch)
    return Installed(version=version, proof=proof, passed={})


def installed_versions(directory: Path) -> Iterator[tuple[Version, Manifest, bool]]:
    """Each version that is installed, its manifest, and whether it is the current one; the oldest first.

    Raises:
        InputError: nothing is installed there.
    """
    place = Installation(directory=directory.absolute())
    _need_installed(place)
    for version in place.versions:
        yield version, load_bundle(version.path).manifest, version == place.current


def _need_installed(place: Installation) -> None:
    if place.current is None:
        raise InputError(
            f"Nothing is installed in {as_typed(place.directory)}.",
            hint="Install a package there: edgepress install FILE --to DIR",
        )


def _asked(package: Package, only: str | None) -> tuple[Variant, ...]:
    found = tuple(one for one in package.index.variants if only in (None, one.name))
    if not found:
        names = ", ".join(variant.name for variant in package.index.variants)
        raise InputError(f"{as_typed(package.path)} has no variant {only}; it has {names}.")
    return found


def _manifests(
    package: Package, variants: tuple[Variant, ...], scratch: Path, key: PublicKey | None
) -> dict[str, Manifest]:
    """The manifest of each variant, and no more of it; with a key, of files that its owner signed."""
    found = {}
    for number, variant in enumerate(variants):
        head = scratch / str(number)
        package.extract(variant, head, (MANIFEST, SIGNATURE))
        with _called(head, f"{package.path}, {variant.name}"):
            if key is not None and signed_files(head, key) != _hashes(variant):
                raise VerificationError(f"{head} is not what {key.path} signed.", hint=HINT)
            found[variant.name] = load_bundle(head).manifest
    return found


def _hashes(variant: Variant) -> dict[str, str]:
    return {name: file.sha256 for name, file in variant.files.items() if name != SIGNATURE}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One install, while it holds the directory."""

    package: Package
    place: Installation
    scratch: Path
    key: PublicKey | None

    def take(self, variant: Variant, manifest: Manifest) -> tuple[Version, Verification | None] | EdgepressError:
        """The version that a variant became, or already is, with its proof; or why it is not for this machine.

        Raises:
            VerificationError: its files are not those that the package's index names.
        """
        if why := why_not(manifest):
            return UnservedError(f"{why[:1].upper()}{why[1:]}.")
        now = self.place.current
        if now is not None and _is(now, variant):
            return now, None
        if (free := shutil.disk_usage(self.scratch).free) < variant.size:
            return UnservedError(f"It takes {megabytes(variant.size)}, and the disk has {megabytes(free)} free.")
        bundle = self.scratch / "bundle"
        self.package.extract(variant, bundle)
        try:
            with _called(bundle, variant.name):
                proof = self._proof(bundle)
        except EdgepressError as error:
            shutil.rmtree(bundle)
            return error
        return self.place.add(bundle, variant.digest, self.scratch), proof

    def _proof(self, bundle: Path) -> Verification:
        """What a bundle shows here, once its engine is built where that was left to the device."""
        if load_bundle(bundle).engine is not None:
            return verify_bundle(bundle, self.key)
        build_bundle(bundle, self.key)
        return verify_bundle(bundle)


def _is(version: Version, variant: Variant) -> bool:
    """Whether a version is this variant, whole; one that was damaged since is installed anew."""
    if not variant.digest.startswith(version.digest):
        return False
    try:
        check_files(load_bundle(version.path))
    except (EdgepressError, OSError):
        return False
    return True


@contextmanager
def _called(path: Path, name: str) -> Iterator[None]:
    """Inside, errors name a directory that nobody chose; outside, what was in the package."""
    try:
        yield
    except EdgepressError as error:
        hint = error.hint and error.hint.replace(str(path), name)
        raise type(error)(error.message.replace(str(path), name), hint=hint) from error


def _none(file: Path, refused: Mapping[str, EdgepressError]) -> EdgepressError:
    """Why no variant was taken, with the exit code of the worst."""
    reasons = [f"  {name}: {error.message}" for name, error in refused.items()]
    error = UnservedError(
        "\n".join([f"No variant of {as_typed(file)} can be installed here.", *reasons]),
        hint="Pack a bundle for this machine, or install the runtime of one that is there.",
    )
    error.exit_code = worst_code(refused.values())
    return error
