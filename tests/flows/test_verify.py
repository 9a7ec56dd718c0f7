"""A bundle proves itself: any changed byte is named, and neither torch nor onnx is needed to see it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ._flow import EDGEPRESS, WITHOUT_THE_HOST, Cli, read, with_other_answers

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def bundle(digits: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that may be damaged, under another name and in another place."""
    return Path(shutil.copytree(digits["cpu"], tmp_path / "moved" / "renamed"))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_copy_verifies_wherever_it_lies(bundle: Path, cli: Cli, tmp_path: Path) -> None:
    assert cli("verify", bundle).code == 0
    assert cli("verify", ".", cwd=bundle).code == 0
    elsewhere = bundle.rename(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(elsewhere)
    assert cli("verify", tmp_path / "link").code == 0


def test_the_verdict_as_json(bundle: Path, cli: Cli) -> None:
    verdict = json.loads(cli("verify", bundle, "--json").out)
    assert verdict["on_device"] is True
    assert verdict["files"] == len(read(bundle, "manifest.json")["files"]) + 3  # the reports
    assert verdict["parity"]["output"]["cosine"] > 0.99


@pytest.mark.parametrize(
    "name", ["engine/model.bin", "engine/model.xml", "golden/outputs.npz", "model.onnx", "report.md", "report.html"]
)
def test_a_changed_bit_is_found_and_the_file_is_named(bundle: Path, cli: Cli, name: str) -> None:
    flip(bundle / name, at=-1)
    cli("verify", bundle).failed(4, f"{name} was changed")


def test_missing_and_foreign_files_are_named(bundle: Path, cli: Cli) -> None:
    (bundle / "golden" / "inputs.npz").unlink()
    (bundle / "engine" / "extra.bin").write_bytes(b"x")
    (bundle / "engine" / "manifest.json").write_bytes(b"{}")
    cli("verify", bundle).failed(
        4,
        "golden/inputs.npz is missing",
        "engine/extra.bin is not in the manifest",
        "engine/manifest.json is not in the manifest",
    )


def test_an_engine_outside_the_bundle_is_not_opened(bundle: Path, digits: dict[str, Path], cli: Cli) -> None:
    manifest = read(bundle, "manifest.json")
    manifest["engine"]["path"] = str(digits["cpu"] / "engine" / "model.xml")
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    cli("verify", bundle).failed(4, "is not among the manifest's files")


def test_an_engine_that_computes_something_else_fails_although_every_hash_is_right(
    bundle: Path, digits: dict[str, Path], cli: Cli
) -> None:
    with_other_answers(bundle)
    cli("verify", bundle).failed(4, "'output'", "SQNR")


def test_what_is_no_bundle_is_refused(cli: Cli, tmp_path: Path) -> None:
    cli("verify", tmp_path / "nowhere").failed(1, "is not a bundle", "does not exist")
    (tmp_path / "manifest.json").write_text("{")
    cli("verify", tmp_path).failed(1, "manifest.json cannot be read")
    (tmp_path / "manifest.json").write_text('{"schema": 99}')
    cli("verify", tmp_path).failed(1, "schema 99")
    (tmp_path / "manifest.json").write_text('{"schema": 1}')
    cli("verify", tmp_path).failed(1, "`model`")


def test_a_lineage_of_another_engine_is_seen(bundle: Path, cli: Cli) -> None:
    manifest = read(bundle, "manifest.json")
    assert manifest["lineage"][-1]["what"] == "compile"
    manifest["lineage"][-1]["after"] = "0" * 64
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    cli("verify", bundle).failed(4, "its engine is not the one that was compiled of its graph")


@pytest.mark.parametrize("target", ["cpu", "server-cpu", "mobile"])
def test_a_device_needs_neither_torch_nor_onnx(
    digits: dict[str, Path], environment: dict[str, str], target: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_HOST, "verify", digits[target]],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "golden outputs reproduced" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("target", "runtime"), [("cpu", "openvino"), ("mobile", "onnxruntime")])
def test_a_fresh_environment_with_the_wheel_and_a_runtime_tells_a_signed_bundle_from_a_changed_one(
    digits: dict[str, Path], target: str, runtime: str, wheel: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """As on a device: the base install and the runtime of the target, from the index that pip asks."""
    from edgepress.exporter.bundle.manifest import sha256

    def run(*words: object, code: int = 0) -> str:
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True, env=environment, timeout=900)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    bundle = Path(shutil.copytree(digits[target], tmp_path / "bundle"))
    private, public = _new_keys(tmp_path)
    run(EDGEPRESS, "sign", bundle, "--key", private)
    run(sys.executable, "-m", "venv", tmp_path / "device")
    binaries = tmp_path / "device" / "bin"
    install = (binaries / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check")
    run(*install, "-c", REPOSITORY / "constraints.txt", f"{wheel}[{runtime}]")
    installed = {line.partition("==")[0].lower() for line in run(binaries / "python", "-m", "pip", "freeze").split()}
    assert installed.isdisjoint({"torch", "onnx", "onnx-ir", "onnxscript", "transformers"})
    assert runtime in run(binaries / "edgepress", "doctor")
    verify = (binaries / "edgepress", "verify", bundle)
    assert f"golden outputs reproduced by {runtime}" in run(*verify)
    assert "Signed by" in run(*verify, "--key", public)
    manifest = read(bundle, "manifest.json")
    flip(bundle / "report.md", at=-1)
    assert "report.md is not what was signed" in run(*verify, "--key", public, code=4)
    manifest["measured"]["files"]["report.md"]["sha256"] = sha256(bundle / "report.md")
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    run(*verify)
    assert "manifest.json is not what was signed" in run(*verify, "--key", public, code=4)


def _new_keys(directory: Path) -> tuple[Path, Path]:
    """A private key and its public half, in files there."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, pem = ec.generate_private_key(ec.SECP384R1()), serialization.Encoding.PEM
    private, public = directory / "signing.pem", directory / "signing.pub"
    secret = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, secret))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def test_others_may_read_a_bundle_as_far_as_the_umask_says(digits: dict[str, Path]) -> None:
    mask = os.umask(0o077)
    os.umask(mask)
    for path in (digits["cpu"], *digits["cpu"].rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~mask, path
