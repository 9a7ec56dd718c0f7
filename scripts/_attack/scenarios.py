"""Runs that are killed and interrupted: what they begin with, and what must be whole at any moment."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from edgepress.calibration.storage import content_digest, load_statistics
from edgepress.errors import EdgepressError
from edgepress.exporter.bundle.manifest import check_files, load_bundle
from edgepress.exporter.bundle.signature import check_signature
from edgepress.exporter.bundle.signing_keys import load_public_key
from edgepress.exporter.delivery.install import installed_versions
from edgepress.exporter.delivery.versions import Installation, Version
from edgepress.exporter.training.checkpoint import Checkpoint

from .sound import BUNDLE, FLOAT, WRITER, WRITING, Sound

# What is wrong in a directory; "" where nothing is.
Fault = Callable[[Path], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A run, and the run after it.

    Attributes:
        before: the directory that it begins in; copied.
        command: what is struck, and what is run after that.
        whole: asked after each strike and after the next run.
        makes: names that it adds to the directory.
        share: how often it is drawn.
    """

    name: str
    before: Path
    command: Sequence[str]
    whole: Fault
    makes: frozenset[str] = field(default_factory=frozenset)
    share: int = 2

    def left(self, work: Path, temporary: Path) -> list[str]:
        """What lies there that no run should leave; torch and matplotlib have caches of their own."""
        wanted = {path.name for path in self.before.iterdir()} | self.makes | {"__pycache__"}
        visible = [path for path in work.iterdir() if path.name not in wanted]
        hidden = [path for path in work.rglob(".*") if path not in visible]
        return [str(path) for path in (*visible, *hidden, *temporary.iterdir()) if not _foreign(path)]


def _foreign(path: Path) -> bool:
    """A cache of a library, or what Python's `tempfile` writes to see whether it can, and deletes at once."""
    probe = re.fullmatch(r"[a-z0-9_]{8}", path.name) and path.is_file() and path.stat().st_size <= len(b"blat")
    return bool(probe) or path.name.startswith(("torchinductor_", "matplotlib-"))


def scenarios(sound: Sound, names: Sequence[str] = ()) -> list[Scenario]:
    """All of them, or those of these names."""
    return [SCENARIOS[name](name, sound) for name in names or SCENARIOS]


def _export(name: str, sound: Sound) -> Scenario:
    old, out = sound.replaced(), f"out/{BUNDLE}"
    before, allowed = (old, _digest(old / out)) if name.endswith("--force") else (sound.plain(), "")
    return Scenario(
        name=name,
        before=before,
        command=("export", "cnn.onnx", *FLOAT, "--force"),
        whole=_bundle(out, {allowed, _digest(sound.signed() / BUNDLE)}),
        makes=frozenset({"out"}),
        share=4,
    )


def _write(name: str, sound: Sound) -> Scenario:
    """The export of a decoder; where there is an older bundle, that is of other weights."""
    old, out = sound.rewritten(), f"out/{WRITER}"
    before, allowed = (old, _digest(old / out)) if name.endswith("--force") else (sound.decoders(), "")
    return Scenario(
        name=name,
        before=before,
        command=("export", "llama", *WRITING, "--force"),
        whole=_bundle(out, {allowed, _digest(sound.spoken() / WRITER)}),
        makes=frozenset({"out"}),
        share=4,
    )


def _build(name: str, sound: Sound) -> Scenario:
    device, bundle = sound.device(), "cnn-rtx"
    whole = _bundle(bundle, {_digest(device / bundle)})
    return Scenario(name=name, before=device, command=("build", bundle), whole=whole, share=4)


def _install(name: str, sound: Sound) -> Scenario:
    command = ("install", "new.edgepress", "--to", "device", "-q")
    return Scenario(name=name, before=sound.installed(), command=command, whole=_in_use, share=4)


def _calibrate(name: str, sound: Sound) -> Scenario:
    plain = sound.plain()
    contents = {_content(plain / f"{name}.safetensors") for name in ("data", "other")}
    command = ("calibrate", "cnn.onnx", "-t", "server-cpu", "--calibration", "other.npz", "-o", "data.safetensors")
    whole = partial(_statistics, contents)
    return Scenario(name=name, before=plain, command=command, whole=whole, share=4)


def _history(name: str, sound: Sound) -> Scenario:
    signed = sound.signed()
    command = ("check", BUNDLE, "--budget", "size=1MB", "--history", "history.jsonl")
    whole = partial(_appended, (signed / "history.jsonl").read_bytes())
    return Scenario(name=name, before=signed, command=command, whole=whole, share=4)


def _sign(name: str, sound: Sound) -> Scenario:
    return Scenario(name=name, before=sound.signed(), command=("sign", BUNDLE, "--key", "key.pem"), whole=_signed)


def _train(name: str, sound: Sound) -> Scenario:
    makes = frozenset({"out", "ck"})
    return Scenario(name=name, before=sound.taught(), command=sound.train, whole=_trained, makes=makes)


def _tune(name: str, sound: Sound) -> Scenario:
    makes = frozenset({"dist", "study.db"})
    return Scenario(name=name, before=sound.searching(), command=sound.tune, whole=_searched, makes=makes, share=1)


SCENARIOS: Mapping[str, Callable[[str, Sound], Scenario]] = {
    "export": _export,
    "export --force": _export,
    "decoder": _write,
    "decoder --force": _write,
    "build": _build,
    "install": _install,
    "calibrate": _calibrate,
    "history": _history,
    "sign": _sign,
    "training": _train,
    "tune": _tune,
}


def _digest(bundle: Path) -> str:
    return load_bundle(bundle).manifest.model.source_digest


def _bundle(where: str, digests: set[str] | None = None) -> Fault:
    """Whole, and of one of these models; "" stands for none at all. By default whole or not there."""

    def fault(work: Path) -> str:
        path = work / where
        if not path.exists():
            return "" if digests is None or "" in digests else f"{where} is lost"
        try:
            check_files(load_bundle(path))
        except EdgepressError as error:
            return f"{where} is half-written: {error}"
        return "" if digests is None or _digest(path) in digests else f"{where} is of another model"

    return fault


def _in_use(work: Path) -> str:
    """One version is in use and whole, and so is each other one, of which there are never more than two."""
    try:
        current, *others = Installation(directory=work / "device").current, *installed_versions(work / "device")
        for version, _, _ in others:
            check_files(load_bundle(version.path))
    except (EdgepressError, OSError) as error:
        return f"device is damaged: {error}"
    odd = [path.name for path in (work / "device").glob("[!.]*") if path.name not in ("current", "versions")]
    odd += [path.name for path in (work / "device/versions").iterdir() if Version.of(path) is None]
    return f"{current}, {len(others)} versions, {odd}" if current is None or len(others) > 2 or odd else ""


def _content(path: Path) -> str:
    """The order of entries in the file is safetensors' own, and differs."""
    return content_digest(load_statistics(path))


def _statistics(contents: set[str], work: Path) -> str:
    path = work / "data.safetensors"
    try:
        return "" if _content(path) in contents else f"{path.name} is of other data"
    except EdgepressError as error:
        return f"{path.name} is lost or half-written: {error}"


def _appended(before: bytes, work: Path) -> str:
    """Nothing that was there is changed, and each line that ends is whole."""
    path = work / "history.jsonl"
    data = path.read_bytes()
    if not data.startswith(before):
        return f"{path.name} lost lines"
    cut = [line for line in data[len(before) :].split(b"\n")[:-1] if not _is_json(line)]
    return f"{path.name} has {len(cut)} lines that were cut off" if cut else ""


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _signed(work: Path) -> str:
    try:
        check_signature(work / BUNDLE, load_public_key(work / "key.pub"))
    except EdgepressError as error:
        return f"the signature is lost: {error}"
    return ""


def _trained(work: Path) -> str:
    """Each state of a checkpoint can be read, and so can its end."""
    faults = [fault for run in work.glob("ck/*") if (fault := _unsound(run))]
    return faults[0] if faults else _bundle("out/classes-server-cpu")(work)


def _unsound(run: Path) -> str:
    checkpoint = Checkpoint(run)
    try:
        found = "finished" if (run / "finished").exists() else checkpoint.load()
    except EdgepressError as error:
        return str(error)
    return "" if found or not any(run.glob("[!.]*")) else f"{run} holds neither a state nor an end"


def _searched(work: Path) -> str:
    """The study is sound, and no trial that it had finished is lost."""
    path, seen = work / "study.db", work.parent / "finished.json"
    if path.exists():
        with closing(sqlite3.connect(path)) as database:
            if (said := database.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                return f"{path.name}: {said}"
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            query = "SELECT number FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"
            finished = [number for (number,) in database.execute(query)] if "trials" in tables else []
        before = json.loads(seen.read_text()) if seen.exists() else []
        if not set(before) <= set(finished):
            return f"{path.name} lost trials {set(before) - set(finished)}"
        seen.write_text(json.dumps(finished))
    return _bundle("dist/small-server-cpu")(work)
