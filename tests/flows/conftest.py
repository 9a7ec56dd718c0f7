"""The product as its user meets it: files on disk, a command line, exit codes, and what lies there afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ._flow import EDGEPRESS, FORKING, OPTIONS, PASSPHRASE, SMALL, TARGETS, Cli, Exported, Once, Ran


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def command(environment: dict[str, str]) -> Callable[..., Ran]:
    """The installed script, as a shell would start it."""

    def run(*arguments: object, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 600) -> Ran:
        words = [str(EDGEPRESS), *map(str, arguments)]
        done = subprocess.run(
            words, cwd=cwd, env={**environment, **(env or {})}, capture_output=True, text=True, timeout=timeout
        )
        return Ran(code=done.returncode, out=done.stdout, err=done.stderr)

    return run


@pytest.fixture(scope="session")
def forking(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", FORKING], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    assert process.stdin is not None
    process.stdin.close()
    process.wait(30)


@pytest.fixture(scope="session")
def forked(forking: subprocess.Popen[str]) -> Cli:
    """The command line in a fresh process, with a TMPDIR of its own, which it has to leave empty; fast."""

    def run(
        *arguments: object,
        cwd: Path,
        temporary: Path,
        file_size: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Ran:
        temporary.mkdir(exist_ok=True)
        out, err = temporary / "stdout", temporary / "stderr"
        job: dict[str, Any] = {
            "arguments": [str(word) for word in arguments],
            "cwd": str(cwd),
            "env": {"TMPDIR": str(temporary), **(env or {})},
            "file_size": file_size,
            "out": str(out),
            "err": str(err),
        }
        assert forking.stdin is not None
        assert forking.stdout is not None
        forking.stdin.write(json.dumps(job) + "\n")
        forking.stdin.flush()
        forking.stdout.readline()
        ran = Ran(code=int(forking.stdout.readline()), out=out.read_text(), err=err.read_text())
        out.unlink()
        err.unlink()
        assert list(temporary.iterdir()) == [], "temporary files were left behind"
        return ran

    return run


@pytest.fixture
def cli(forked: Cli, tmp_path: Path) -> Cli:
    """The command line as of `forked`, in `tmp_path`."""

    def run(*arguments: object, cwd: Path = tmp_path, **more: Any) -> Ran:
        return forked(*arguments, cwd=cwd, temporary=tmp_path.with_name(f"{tmp_path.name}-tmp"), **more)

    return run


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """`signing.pem`, which is encrypted, `signing.pub`, and `other.pub` of somebody else."""
    directory = tmp_path.with_name(f"{tmp_path.name}-keys")
    directory.mkdir()
    for name in ("signing", "other"):
        key = ec.generate_private_key(ec.SECP256R1())
        pem, spki = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        secret = serialization.BestAvailableEncryption(PASSPHRASE["EDGEPRESS_PASSPHRASE"].encode())
        (directory / f"{name}.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, secret))
        (directory / f"{name}.pub").write_bytes(key.public_key().public_bytes(pem, spki))
    return directory


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A model file with a convolution and a linear layer, and its calibration data."""
    path = tmp_path / "small.py"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="session")
def exported(command: Callable[..., Ran], examples: Path, once: Once) -> Exported:
    """Bundles of an example for all six targets, by the name a user types; made by one command, once in a run."""

    def export(example: str) -> dict[str, Path]:
        source = examples / f"{example}.py"

        def fill(output: Path) -> None:
            words = ("export", source, "-t", ",".join(TARGETS), "-o", output, "--no-measure", "-q")
            ran = command(*words, *OPTIONS.get(example, ()), cwd=output, timeout=1800)
            assert ran.code == 0, ran.err

        output = once(f"dist-{source.stem}", fill)
        return {typed: output / f"{source.stem}-{name}" for typed, name in TARGETS.items()}

    return export


@pytest.fixture(scope="session")
def digits(exported: Exported) -> dict[str, Path]:
    return exported("digits")


@pytest.fixture(scope="session")
def tales(once: Once) -> Path:
    """A folder with two decoders: `tale` has a tokenizer, `mute` has none."""
    from ._language import tale

    def fill(directory: Path) -> None:
        tale(directory / "tale")
        tale(directory / "mute", tokenizer=False, num_hidden_layers=1)

    return once("tales", fill)


@pytest.fixture(scope="session")
def tale_bundles(tales: Path, forked: Cli, once: Once) -> Path:
    """Bundles of both for three targets, in one run each."""
    from ._language import QUICK

    def fill(directory: Path) -> None:
        for model, targets in (("tale", "server-cpu,cpu,rpi5"), ("mute", "server-cpu,cpu")):
            words = ("export", tales / model, "-t", targets, *QUICK)
            ran = forked(*words, cwd=directory, temporary=directory / "temporary")
            assert ran.code == 0, ran.err

    return once("tale-bundles", fill) / "dist"
