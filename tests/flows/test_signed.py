"""A bundle is signed where it is made, and a device with the base install tells it from a forged one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ._flow import PASSPHRASE, Cli, contents, read
from .test_verify import WITHOUT_THE_HOST


@pytest.fixture
def bundle(digits: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits["cpu"], tmp_path / "bundle"))


@pytest.fixture
def signed(bundle: Path, keys: Path, cli: Cli) -> Path:
    ran = cli("sign", bundle, "--key", keys / "signing.pem", env=PASSPHRASE)
    assert ran.code == 0, ran.err
    return bundle


def test_an_export_signs_what_it_makes(cli: Cli, small: Path, keys: Path, tmp_path: Path) -> None:
    words = ("export", small.name, "-t", "cpu", "--no-measure", "-q", "--sign", keys / "signing.pem")
    cli(*words).failed(1, "is encrypted, and no passphrase was given", "EDGEPRESS_PASSPHRASE")
    assert not (tmp_path / "dist").exists(), "a key that does not open is said before any work"
    ran = cli(*words, env=PASSPHRASE)
    assert ran.code == 0, ran.err
    bundle = tmp_path / "dist" / "small-cpu"
    ran = cli("verify", bundle, "--key", keys / "signing.pub", "--require-signature")
    assert ran.code == 0, ran.err
    assert f"Signed by {keys / 'signing.pub'}" in ran.out
    assert "sesame" not in json.dumps(read(bundle)), "the command line is in the report, a passphrase is not"


def test_a_signature_tells_forgery_where_hashes_do_not(signed: Path, keys: Path, cli: Cli) -> None:
    """The golden outputs are replaced by what another engine gives, and the manifest is made to fit."""
    from edgepress.exporter.bundle.manifest import sha256

    plain = cli("verify", signed)
    assert "It is signed, which was not checked" in plain.out
    assert "Hashes alone show damage, not forgery" in plain.out
    manifest = read(signed, "manifest.json")
    (signed / "report.md").write_text("better")
    entry = {"sha256": sha256(signed / "report.md"), "size": 6}
    manifest["measured"]["files"]["report.md"] = entry
    (signed / "manifest.json").write_text(json.dumps(manifest))
    assert cli("verify", signed).code == 0
    cli("verify", signed, "--key", keys / "signing.pub").failed(
        4, "manifest.json is not what was signed", "report.md is not what was signed"
    )


def test_who_must_have_signed_is_told_from_who_did(signed: Path, keys: Path, cli: Cli) -> None:
    verdict = json.loads(cli("verify", signed, "--key", keys / "signing.pub", "--json").out)
    assert verdict["signed"] == "the key"
    cli("verify", signed, "--key", keys / "other.pub").failed(4, "is by the key")
    cli("verify", signed, "--key", keys / "nowhere.pub").failed(1, "No such file")
    os.mkfifo(keys / "pipe")
    cli("verify", signed, "--key", keys / "pipe").failed(1, "pipe cannot be read: it is no regular file")
    cli("sign", signed, "--key", keys / "pipe").failed(1, "pipe cannot be read: it is no regular file")
    cli("verify", signed, "--key", keys / "signing.pem").failed(1, "is a private key")
    cli("sign", signed, "--key", keys / "signing.pub").failed(1, "is a public key")
    cli("sign", signed, "--key", keys / "signing.pem", env={"EDGEPRESS_PASSPHRASE": "no"}).failed(1, "is wrong")
    ran = cli("verify", signed, "--require-signature")
    assert ran.code == 2
    assert "--require-signature needs --key PUB" in ran.err


def test_an_unsigned_bundle_does_not_pass_for_a_signed_one(bundle: Path, keys: Path, cli: Cli) -> None:
    assert "It is not signed" in cli("verify", bundle).out
    cli("verify", bundle, "--key", keys / "signing.pub").failed(4, "is not signed: it has no model.sig")


def test_what_is_built_of_a_forged_bundle_is_nothing(
    digits: dict[str, Path], keys: Path, cli: Cli, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(digits["jetson"], tmp_path / "bundle"))
    cli("build", bundle, "--key", keys / "signing.pub").failed(4, "is not signed")
    assert cli("sign", bundle, "--key", keys / "signing.pem", env=PASSPHRASE).code == 0
    (bundle / "engine" / "more.sh").write_text("#!/bin/sh\n")
    before = contents(bundle)
    cli("build", bundle, "--key", keys / "signing.pub").failed(4, "engine/more.sh was not signed")
    assert contents(bundle) == before
    (bundle / "engine" / "more.sh").unlink()
    cli("verify", bundle, "--key", keys / "signing.pub").failed(5, "signed by", "files are intact")


def test_a_build_is_signed_anew_or_not_at_all(digits: dict[str, Path], keys: Path, cli: Cli, tmp_path: Path) -> None:
    """The signature was over what the build replaces."""
    bundle = Path(shutil.copytree(digits["rtx"], tmp_path / "bundle"))
    assert cli("sign", bundle, "--key", keys / "signing.pem", env=PASSPHRASE).code == 0
    ran = cli("build", bundle, "--key", keys / "signing.pub", "--sign", keys / "signing.pem", "-q", env=PASSPHRASE)
    assert ran.code == 0, ran.err
    cli("verify", bundle, "--key", keys / "signing.pub").failed(5, "signed by", "files are intact")
    ran = cli("build", bundle, "-q")
    assert "as it was built it is not" in ran.err
    assert not (bundle / "model.sig").exists()


def test_if_changed_keeps_only_what_the_key_signed(cli: Cli, small: Path, keys: Path, tmp_path: Path) -> None:
    """What somebody else laid there with the note beside it is not signed in passing."""
    words = ("export", small.name, "-t", "cpu", "--no-measure", "-q", "--if-changed")
    assert cli(*words).code == 0
    assert "is unchanged" in cli(*words).err
    assert "is unchanged" not in cli(*words, "--sign", keys / "signing.pem", env=PASSPHRASE).err
    assert "is unchanged" in cli(*words, "--sign", keys / "signing.pem", env=PASSPHRASE).err
    assert "is unchanged" not in cli(*words, "--sign", keys / "other.pem", env=PASSPHRASE).err


def test_a_device_verifies_a_signature_without_the_host(signed: Path, keys: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_HOST, "verify", signed, "--key", keys / "signing.pub"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Signed by" in done.stdout
