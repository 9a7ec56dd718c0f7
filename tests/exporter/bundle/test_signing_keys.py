"""Which files are keys, and what is said of those that are not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepress.errors import InputError
from edgepress.exporter.bundle.signature import check_signature, sign_bundle
from edgepress.exporter.bundle.signing_keys import load_private_key, load_public_key

from .test_bundle import filled


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return filled(tmp_path / "bundle").path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("p256.pub", "is a public key; a private key signs"),
        ("ed25519.pem", "is a key of Ed25519; the model-signing format takes elliptic curves"),
        ("rsa.pem", "is a key of RSA"),
        ("k256.pem", "is a key of secp256k1"),
        ("garbage.pem", "is not a private key in PEM: it is no PEM file"),
        ("empty.pem", "is not a private key in PEM: it is no PEM file"),
        ("large.pem", "cannot be read: it has 100 kB, where 66 kB are the most"),
        ("torn.pem", "The file is damaged"),
        ("locked.pem", "is encrypted, and no passphrase was given"),
        ("nowhere.pem", "cannot be read: No such file or directory"),
        (".", "cannot be read: Is a directory"),
    ],
)
def test_what_is_no_private_key_is_said(keys: Path, name: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        load_private_key(keys / name)
    assert said in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("p256.pem", "is a private key; a public key verifies"),
        ("locked.pem", "is a private key"),
        ("ed25519.pub", "is a key of Ed25519"),
        ("rsa.pub", "is a key of RSA"),
        ("garbage.pem", "is not a public key: it is no PEM file"),
        ("large.pem", "cannot be read: it has 100 kB, where 66 kB are the most"),
        ("torn.pub", "is a damaged public key"),
        ("nowhere.pub", "cannot be read: No such file or directory"),
    ],
)
def test_what_is_no_public_key_is_said(keys: Path, name: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        load_public_key(keys / name)
    assert said in raised.value.message
    assert raised.value.hint


def test_a_key_may_come_from_a_pipe_that_the_shell_opened(bundle: Path, keys: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, (keys / "p256.pem").read_bytes())
    os.close(writing)
    sign_bundle(bundle, load_private_key(Path(f"/dev/fd/{reading}")))
    os.close(reading)
    check_signature(bundle, load_public_key(keys / "p256.pub"))


@pytest.mark.parametrize("load", [load_private_key, load_public_key])
@pytest.mark.parametrize("kind", ["a pipe nobody writes to", "a pipe", "a device"])
def test_what_is_no_regular_file_is_not_waited_for(keys: Path, load: Callable[[Path], object], kind: str) -> None:
    path = keys / "special"
    path.unlink(missing_ok=True)
    reading, writing = os.pipe()
    if kind == "a pipe nobody writes to":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "a device" else f"/dev/fd/{reading}")
    os.write(writing, (keys / "p256.pem").read_bytes())
    with pytest.raises(InputError, match="special cannot be read: it is no regular file") as raised:
        load(path)
    assert raised.value.hint
    os.close(reading)
    os.close(writing)


def test_an_encrypted_key_is_opened_by_its_passphrase(
    bundle: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEPRESS_PASSPHRASE", os.fsdecode(b"\xff"))
    with pytest.raises(InputError, match="passphrase is wrong"):
        load_private_key(keys / "locked.pem")
    with pytest.raises(InputError, match="passphrase is wrong"):
        load_private_key(keys / "locked.pem", lambda: "open barley")
    sign_bundle(bundle, load_private_key(keys / "locked.pem", lambda: "open sesame"))
    check_signature(bundle, load_public_key(keys / "p256.pub"))
