"""The engines of a demo: bundles that are whole, of one model, where they run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...backends.base import Engine
from ...backends.places import Place, engine_place
from ...errors import InputError, UnservedError, as_text
from ..bundle.lineage import check_lineage
from ..bundle.manifest import MANIFEST, Bundle, check_files, load_bundle, sha256
from .findings import Ran
from .outputs import Roles, roles_of
from .pictures import Taking, taking_of
from .settings import DemoSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoEngine:
    """An engine, where it runs, how it takes pictures, and what it gives.

    Attributes:
        label: it in the pictures.
    """

    label: str
    bundle: Bundle
    engine: Engine
    place: Place
    taking: Taking
    roles: Roles

    def ran(self) -> Ran:
        """What a reader is told of it."""
        manifest = self.bundle.manifest
        target = manifest.target
        return Ran(
            label=self.label,
            bundle=as_text(self.bundle.path.resolve().name),
            target=target.name,
            precision=manifest.engine.precision,
            manifest=sha256(self.bundle.path / MANIFEST),
            tool=self.place.tool(target),
            how=self.place.how(target),
            on_device=self.place.evidence(target) == "measured",
            outputs=dict(self.roles.names),
            unread=self.roles.unread,
            reading=str(self.taking),
            cropped=self.taking.image.size is not None and self.taking.reading.fit == "crop",
        )


def subjects_of(paths: Sequence[Path], asked: DemoSettings) -> tuple[DemoEngine, ...]:
    """The engines of bundles, whose every file is checked first.

    Raises:
        InputError: no bundle, another model than the first one's, an input that is no image in bytes, or outputs that
            cannot be drawn.
        VerificationError: a file differs.
        UnservedError: the engine is not built yet, or does not run where it should.
    """
    bundles = [_whole(path) for path in paths]
    for other in bundles[1:]:
        _check_same(bundles[0], other)
    made = [_subject(bundle, asked) for bundle in bundles]
    for one in made[1:]:
        if one.roles.kind != made[0].roles.kind:
            raise InputError(
                f"{made[0].bundle.path} gives {made[0].roles.kind} and {one.bundle.path} {one.roles.kind}.",
                hint="Say what both are drawn as with --as.",
            )
    return _told_apart(made)


def _whole(path: Path) -> Bundle:
    bundle = load_bundle(path)
    check_files(bundle)
    check_lineage(bundle)
    return bundle


def _subject(bundle: Bundle, asked: DemoSettings) -> DemoEngine:
    manifest, path = bundle.manifest, bundle.path
    if manifest.language is not None:
        raise InputError(f"{path} holds a decoder, which writes text.", hint=f"edgepress generate {path}")
    taking = taking_of(bundle, asked.fit)
    roles = roles_of(manifest.model.outputs, manifest.model.inputs[0].shape[0], asked.kind, str(path))
    if (engine := bundle.engine) is None:
        raise UnservedError(
            f"{path}: its files are intact, but the engine is {manifest.engine.why}.",
            hint=f"On the device, run: edgepress build {path}",
        )
    place = engine_place(manifest.target, f"{path}: its files are intact, but ", asked.on)
    label = f"{manifest.engine.precision} \N{MIDDLE DOT} {manifest.target.name}"
    return DemoEngine(label=label, bundle=bundle, engine=engine, place=place, taking=taking, roles=roles)


def _check_same(first: Bundle, other: Bundle) -> None:
    """Refuse a bundle of another model; a pruned one is of the model that it was pruned from.

    Raises:
        InputError: naming both.
    """
    if _source(first) != _source(other):
        raise InputError(
            f"{other.path} is of another model than {first.path}: {other.manifest.model.name}, source "
            f"{_source(other)[:12]}, beside {first.manifest.model.name}, source {_source(first)[:12]}.",
            hint="Export both from the same model file, with the same weights.",
        )


def _source(bundle: Bundle) -> str:
    steps = bundle.manifest.lineage
    return steps[0].before if steps else bundle.manifest.model.source_digest


def _told_apart(made: Sequence[DemoEngine]) -> tuple[DemoEngine, ...]:
    """Labels are precisions where these differ and nothing else does; those that are the same get a number."""
    targets = {one.bundle.manifest.target.name for one in made}
    precisions = [one.bundle.manifest.engine.precision for one in made]
    if len(made) == len(set(precisions)) > len(targets) == 1:
        return tuple(replace(one, label=precision) for one, precision in zip(made, precisions, strict=True))
    counts, seen = Counter(one.label for one in made), Counter[str]()
    named = []
    for one in made:
        seen[one.label] += 1
        label = f"{one.label} ({seen[one.label]})" if counts[one.label] > 1 else one.label
        named.append(replace(one, label=label))
    return tuple(named)
