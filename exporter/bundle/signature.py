"""The signature of a bundle, `model.sig`: an OpenSSF model signature by a key, made and checked offline.

A DSSE envelope in a sigstore bundle, over an in-toto statement that lists each file with its sha256. Decision 31 says
why this is no library. Nothing here needs torch or onnx.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from ...errors import VerificationError
from ...profiles.machine.held import held
from ...profiles.reading.validator import first_fault, validator
from .envelope import PAYLOAD_TYPE, PREDICATE, STATEMENT, Envelope, Signature, Statement
from .files import regular_files
from .manifest import MANIFEST, SIGNATURE, check_files, load_bundle, sha256
from .misnamed import no_bundle
from .signing_keys import PrivateKey, PublicKey

# A statement has some 200 bytes a file: 15,000 files. pydantic takes up to a hundred times a text's size to parse it.
LARGEST = 1 << 22
AGAIN = "Take the bundle again from who signed it; if it differs again, trust it no more."


def sign_bundle(path: Path, key: PrivateKey) -> Path:
    """Sign a bundle that is as its manifest says; a signature that it has is replaced.

    Returns:
        The signature's file.

    Raises:
        InputError: not a bundle.
        VerificationError: a file of the bundle was changed.
    """
    path = path.resolve()  # `.` has no place beside it
    check_files(load_bundle(path))
    # Made beside the bundle: what a killed process leaves there is swept, what it left inside would be a foreign file.
    with held(path.parent, f".{path.name}.") as scratch:
        write_signature(path, path.name, key, scratch / SIGNATURE)
        return (scratch / SIGNATURE).replace(path / SIGNATURE)


def write_signature(directory: Path, name: str, key: PrivateKey, file: Path) -> None:
    """Sign every file of a directory.

    Args:
        name: what the statement calls the bundle; nothing depends on it.
        file: that is written.
    """
    payload = json.dumps(_statement(name, hashed(directory)), indent=2, ensure_ascii=False).encode()
    file.write_text(json.dumps(_envelope(payload, key), separators=(",", ":")), encoding="utf-8")


def check_signature(path: Path, key: PublicKey) -> None:
    """See that a bundle's signature is by this key, and that the files are those that were signed.

    Nothing of the bundle but the signature is parsed for that.

    Raises:
        InputError: not a bundle.
        VerificationError: it is not signed, not by this key, or a file was changed, added, removed or linked.
    """
    if not (path / MANIFEST).exists() and not (path / SIGNATURE).exists():
        raise no_bundle(path, MANIFEST)
    signed, found = signed_files(path, key), hashed(path)
    faults = [f"{name} is missing" for name in sorted(signed.keys() - found.keys())]
    faults += [f"{name} was not signed" for name in sorted(found.keys() - signed.keys())]
    faults += [
        f"{name} is not what was signed" for name in sorted(signed.keys() & found.keys()) if signed[name] != found[name]
    ]
    if faults:
        raise VerificationError(f"{path}: {'; '.join(faults)}.", hint=AGAIN)


def signed_files(path: Path, key: PublicKey) -> dict[str, str]:
    """The sha256 of each file that a bundle's signature covers, by name.

    Raises:
        VerificationError: there is none, it is none of a key, or it is not by this one.
    """
    file = path / SIGNATURE
    envelope = _parsed(Envelope, _content(file), file)
    named, given = envelope.verification_material.public_key.hint, key.fingerprint
    if named != given:
        raise VerificationError(
            f"{file} is by the key {named[:16]}, and {key.path} is {given[:16]}.",
            hint="Give the public key of who signed the bundle, or do not trust it.",
        )
    signed = envelope.dsse_envelope
    payload, signature = _decoded(signed.payload, file), _decoded(signed.signatures[0].sig, file)
    if not key.verifies(signature, _pre_authentication(payload)):
        raise VerificationError(f"{file} was not made by {key.path}, or was changed.", hint=AGAIN)
    statement = _parsed(Statement, payload, file)
    names = [resource.name for resource in statement.predicate.resources]
    if len(set(names)) < len(names):
        raise VerificationError(f"{file} lists a file twice.", hint=AGAIN)
    return {resource.name: resource.digest for resource in statement.predicate.resources}


def hashed(directory: Path) -> dict[str, str]:
    """Sha256 in hex of every file below the directory but its signature, by name with forward slashes.

    Raises:
        VerificationError: something there is neither a file nor a directory; no link is followed.
    """
    return {name: sha256(path) for name, path in regular_files(directory).items() if name != SIGNATURE}


def _statement(name: str, files: Mapping[str, str]) -> dict[str, Any]:
    """The in-toto statement of the files; its subject's digest is that of all digests, in order."""
    ordered = sorted(files, key=PurePosixPath)
    total = hashlib.sha256(b"".join(bytes.fromhex(files[one]) for one in ordered)).hexdigest()
    serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [SIGNATURE]}
    resources = [{"name": one, "algorithm": "sha256", "digest": files[one]} for one in ordered]
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": total}}],
        "predicateType": PREDICATE,
        "predicate": {"serialization": serialization, "resources": resources},
    }


def _envelope(payload: bytes, key: PrivateKey) -> dict[str, Any]:
    signature = Signature(sig=base64.b64encode(key.sign(_pre_authentication(payload))).decode())
    made = Envelope.of(base64.b64encode(payload).decode(), signature, key.public.fingerprint)
    return made.model_dump(mode="json", by_alias=True)


def _pre_authentication(payload: bytes) -> bytes:
    """What is signed: type and payload with their lengths (DSSE 1.0, "PAE")."""
    return f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload


def _content(file: Path) -> bytes:
    """The signature's bytes.

    Raises:
        VerificationError: there is none, or something else lies there.
    """
    if not os.path.lexists(file):
        raise VerificationError(
            f"{file.parent} is not signed: it has no {SIGNATURE}.",
            hint="Without --key its hashes are checked, which show damage, not forgery.",
        )
    if not stat.S_ISREG(file.lstat().st_mode) or file.stat().st_size > LARGEST:
        raise VerificationError(f"{file} is not the file of a signature.", hint=AGAIN)
    return file.read_bytes()


def _parsed(kind: Any, data: bytes, file: Path) -> Any:
    try:
        return validator(kind).validate_json(data)
    except ValidationError as error:
        message = f"{file} is not a model signature by a key: {first_fault(error)}."
        raise VerificationError(message, hint=AGAIN) from error


def _decoded(text: str, file: Path) -> bytes:
    """Base64 in the one way that it is written: a changed bit in its padding is a change too."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise VerificationError(f"{file} was changed: its base64 does not decode.", hint=AGAIN) from error
    if base64.b64encode(data).decode() != text:
        raise VerificationError(f"{file} was changed: its base64 is not as it is written.", hint=AGAIN)
    return data
