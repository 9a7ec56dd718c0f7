"""Keys that sign and verify bundles: elliptic curves in PEM files, as the OpenSSF model-signing format takes them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InputError
from ...profiles.reading.opened import read_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

# The curves of the format; the hash of a signature goes by the curve (sigstore's registry of algorithms).
HASHES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
# A PEM file of such a key has less than 1 kB.
LARGEST = 1 << 16
# Where a process finds what was opened for it.
_OPENED = Path("/dev/fd")
MAKE = "Make a pair with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out signing.pem"
PUBLISH = "The public half of a key is written by: openssl pkey -in signing.pem -pubout -out signing.pub"

# Holds the passphrase of an encrypted key, where nobody can be asked.
PASSPHRASE = "EDGEPRESS_PASSPHRASE"

Ask = Callable[[], str | None]
_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """What verifies; it is no secret.

    Attributes:
        path: the file that it was read from.
    """

    path: Path
    key: ec.EllipticCurvePublicKey

    @property
    def fingerprint(self) -> str:
        """Sha256 in hex of the key's PEM text, by which a signature names its key."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return hashlib.sha256(self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the private half of this key signed the message."""
        from cryptography.exceptions import InvalidSignature

        try:
            self.key.verify(signature, message, _algorithm(self.key))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKey:
    """What signs; whoever has it can sign as you."""

    key: ec.EllipticCurvePrivateKey
    public: PublicKey

    def sign(self, message: bytes) -> bytes:
        """The signature of the message, DER."""
        signature: bytes = self.key.sign(message, _algorithm(self.key.public_key()))
        return signature


def load_public_key(path: Path) -> PublicKey:
    """The public key in a PEM file.

    Raises:
        InputError: no such file, no public key, or one of a kind that the format has no place for.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    text, labels = _read(path)
    if any(label.endswith("PRIVATE KEY") for label in labels):
        raise InputError(f"{path} is a private key; a public key verifies.", hint=PUBLISH)
    if "PUBLIC KEY" not in labels:
        raise InputError(f"{path} is not a public key: {_found(labels)}.", hint=PUBLISH)
    try:
        key = load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path} is a damaged public key.", hint=PUBLISH) from error
    return PublicKey(path=path, key=_of_a_curve(key, path))


def from_environment() -> str | None:
    """The passphrase that $EDGEPRESS_PASSPHRASE holds."""
    return os.environ.get(PASSPHRASE)


def load_private_key(path: Path, passphrase: Ask = from_environment) -> PrivateKey:
    """The private key in a PEM file.

    Args:
        passphrase: asked where the key is encrypted; None where nobody knows it.

    Raises:
        InputError: no such file, no private key, one of a kind that the format has no place for, or a passphrase that
            is missing or wrong.
    """
    text, labels = _read(path)
    private = [label for label in labels if label.endswith("PRIVATE KEY")]
    if not private and "PUBLIC KEY" in labels:
        raise InputError(f"{path} is a public key; a private key signs.", hint="Give the file that it was made from.")
    if not private or "OPENSSH PRIVATE KEY" in private:
        raise InputError(f"{path} is not a private key in PEM: {_found(labels)}.", hint=MAKE)
    encrypted = "ENCRYPTED PRIVATE KEY" in private or b"Proc-Type: 4,ENCRYPTED" in text
    key = _decoded(text, path, _answer(passphrase, path) if encrypted else None)
    return PrivateKey(key=key, public=PublicKey(path=path, key=key.public_key()))


def _answer(passphrase: Ask, path: Path) -> bytes:
    said = passphrase()
    if not said:
        raise InputError(
            f"{path} is encrypted, and no passphrase was given.",
            hint=f"Set {PASSPHRASE}, or run the command in a terminal, where it asks.",
        )
    return os.fsencode(said)  # as it came from the environment, whatever bytes it has


def _decoded(text: bytes, path: Path, passphrase: bytes | None) -> ec.EllipticCurvePrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(text, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        what = "The passphrase is wrong, or the file is damaged" if passphrase else "The file is damaged"
        raise InputError(f"{path} cannot be opened as a private key. {what}.", hint=MAKE) from error
    _of_a_curve(key.public_key(), path)
    return key  # type: ignore[return-value, unused-ignore]  # its public half is of a curve, so this one is too


def _of_a_curve(key: object, path: Path) -> ec.EllipticCurvePublicKey:
    """The key, where the format's own tool takes it.

    Raises:
        InputError: it is RSA, Ed25519, or of another curve.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    kind = type(key).__name__.removeprefix("_").removesuffix("PublicKey")
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name in HASHES:
            return key
        kind = key.curve.name
    raise InputError(
        f"{path} is a key of {kind}; the model-signing format takes elliptic curves: {', '.join(HASHES)}.", hint=MAKE
    )


def _algorithm(key: ec.EllipticCurvePublicKey) -> ec.ECDSA:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.ECDSA(getattr(hashes, HASHES[key.curve.name])())


def _piped(path: Path) -> bytes:
    with path.open("rb") as pipe:
        text = pipe.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise InputError(f"{path} is not a key: it has more than {LARGEST >> 10} kB.", hint=MAKE)
    return text


def _read(path: Path) -> tuple[bytes, list[str]]:
    """A key's file, and what its PEM blocks say they are.

    A pipe is read where the shell opened it, as for `--sign <(...)`: a key need not lie on a disk.

    Raises:
        UnreadableError: it is not there, no regular file (a named pipe may be one that nobody writes to), or too large.
    """
    text = _piped(path) if path.parent == _OPENED and path.is_fifo() else read_bytes(path, most=LARGEST, hint=MAKE)
    return text, [label.decode() for label in _LABEL.findall(text)]


def _found(labels: list[str]) -> str:
    return f"it holds {', '.join(labels)}" if labels else "it is no PEM file"
