"""Key pairs of every kind, and a bundle to sign."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

CURVES = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


def write_private(path: Path, key: object, secret: str = "") -> Path:
    how = serialization.BestAvailableEncryption(secret.encode()) if secret else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(PEM, PKCS8, how))  # type: ignore[attr-defined]
    return path


def write_public(path: Path, key: object) -> Path:
    public = key.public_key()  # type: ignore[attr-defined]
    path.write_bytes(public.public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return path


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of key pairs: `p256.pem` and `p256.pub`, and so on."""
    directory = tmp_path_factory.mktemp("keys")
    made = {name: ec.generate_private_key(curve) for name, curve in CURVES.items()}
    made |= {"other": ec.generate_private_key(CURVES["p256"]), "k256": ec.generate_private_key(ec.SECP256K1())}
    others = {"ed25519": ed25519.Ed25519PrivateKey.generate(), "rsa": rsa.generate_private_key(65537, 2048)}
    for name, key in {**made, **others}.items():
        write_private(directory / f"{name}.pem", key)
        write_public(directory / f"{name}.pub", key)
    write_private(directory / "locked.pem", made["p256"], "open sesame")
    (directory / "garbage.pem").write_bytes(random.Random(0).randbytes(300))
    (directory / "large.pem").write_bytes(b"-----BEGIN PUBLIC KEY-----\n" + b"A" * 100_000)
    (directory / "empty.pem").touch()
    (directory / "torn.pem").write_bytes((directory / "p256.pem").read_bytes()[:90] + b"\n-----END PRIVATE KEY-----\n")
    (directory / "torn.pub").write_bytes((directory / "p256.pub").read_bytes()[:60] + b"\n-----END PUBLIC KEY-----\n")
    return directory
