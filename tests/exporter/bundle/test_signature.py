"""A signature covers every bit of a bundle, and only the right key in the right form opens it."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepress.errors import VerificationError
from edgepress.exporter.bundle.manifest import MANIFEST, SIGNATURE, check_files, hash_files, load_bundle, sha256
from edgepress.exporter.bundle.signature import check_signature, sign_bundle, signed_files, write_signature
from edgepress.exporter.bundle.signing_keys import load_private_key, load_public_key

from .test_bundle import filled

BITS = 400  # flipped in a run


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return filled(tmp_path / "bundle").path


@pytest.fixture
def signed(bundle: Path, keys: Path) -> Path:
    sign_bundle(bundle, load_private_key(keys / "p256.pem"))
    return bundle


def fault(bundle: Path, key: Path) -> str:
    """What `--key` says of a bundle that is not what was signed."""
    with pytest.raises(VerificationError) as raised:
        check_signature(bundle, load_public_key(key))
    return str(raised.value)


@pytest.mark.parametrize("curve", ["p256", "p384", "p521"])
def test_what_a_key_signed_its_public_half_verifies(bundle: Path, keys: Path, curve: str) -> None:
    assert sign_bundle(bundle, load_private_key(keys / f"{curve}.pem")).name == SIGNATURE
    check_signature(bundle, load_public_key(keys / f"{curve}.pub"))
    assert check_files(load_bundle(bundle)) == 4, "the signature is no file of the manifest"


def test_a_bundle_that_was_moved_and_renamed_still_verifies(signed: Path, keys: Path, tmp_path: Path) -> None:
    moved = signed.rename(tmp_path / "elsewhere")
    check_signature(moved, load_public_key(keys / "p256.pub"))


def test_signing_again_replaces_the_signature_and_leaves_nothing(signed: Path, keys: Path) -> None:
    sign_bundle(signed, load_private_key(keys / "other.pem"))
    check_signature(signed, load_public_key(keys / "other.pub"))
    assert [path.name for path in signed.parent.iterdir()] == ["bundle"]


def test_any_bit_that_is_flipped_is_seen(signed: Path, keys: Path) -> None:
    """In the signature too: also in what is not signed of it, its base64 and the names of its fields."""
    key, rng = load_public_key(keys / "p256.pub"), random.Random(14)
    files = [path for path in signed.rglob("*") if path.is_file()]
    share = {path: BITS // 2 if path.name == SIGNATURE else BITS // 2 // len(files) for path in files}
    for path, count in share.items():
        whole = path.read_bytes()
        for bit in rng.sample(range(8 * len(whole)), min(count, 8 * len(whole))):
            data = bytearray(whole)
            data[bit // 8] ^= 1 << bit % 8
            path.write_bytes(data)
            with pytest.raises(VerificationError):
                check_signature(signed, key)
        path.write_bytes(whole)
    check_signature(signed, key)


@pytest.mark.parametrize("bits", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_every_byte_around_the_payload_counts(signed: Path, keys: Path, bits: int) -> None:
    """The payload is most of a signature's file; of each byte of the rest so many bits are tried."""
    rng = random.Random(bits)
    key, file = load_public_key(keys / "p256.pub"), signed / SIGNATURE
    whole = file.read_bytes()
    payload = json.loads(whole)["dsseEnvelope"]["payload"].encode()
    begin = whole.index(payload)
    around = [*range(begin), *range(begin + len(payload) - 4, len(whole))]
    for bit in (8 * byte + bit for byte in around for bit in rng.sample(range(8), bits)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        file.write_bytes(data)
        with pytest.raises(VerificationError):
            signed_files(signed, key)


@pytest.mark.parametrize("spare", [2, 4])
def test_bits_that_base64_does_not_use_are_seen(bundle: Path, keys: Path, spare: int) -> None:
    """The last character before the padding carries some that decode to nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    private, file = load_private_key(keys / "p256.pem"), bundle / SIGNATURE
    for name in ("a", "ab", "abc"):  # one of them makes a payload of such a length
        write_signature(bundle, name, private, file)
        envelope = json.loads(file.read_text())
        payload = envelope["dsseEnvelope"]["payload"]
        if payload.count("=") == spare // 2:
            break
    at = payload.index("=") - 1
    other = payload[:at] + alphabet[alphabet.index(payload[at]) ^ 1] + payload[at + 1 :]
    assert base64.b64decode(other, validate=True) == base64.b64decode(payload)
    file.write_text(file.read_text().replace(payload, other))
    assert "its base64 is not as it is written" in fault(bundle, keys / "p256.pub")


def test_a_manifest_that_was_rewritten_to_fit_is_seen(signed: Path, keys: Path) -> None:
    """Hashes show damage, not forgery: who changes a file enters its new hash."""
    (signed / "model.onnx").write_bytes(b"another model")
    rewritten(signed)
    assert check_files(load_bundle(signed)) == 4
    assert f"{MANIFEST} is not what was signed; model.onnx is not what was signed" in fault(signed, keys / "p256.pub")


def rewritten(bundle: Path) -> None:
    """Enter the hashes of what lies there."""
    data = json.loads((bundle / MANIFEST).read_text())
    files, measured = hash_files(bundle)
    for entries, found in ((data, files), (data["measured"], measured)):
        entries["files"] = {name: {"sha256": one.sha256, "size": one.size} for name, one in found.items()}
    (bundle / MANIFEST).write_text(json.dumps(data))


def added(bundle: Path) -> None:
    (bundle / "engine" / "extra.bin").write_bytes(b"x")


def hidden(bundle: Path) -> None:
    (bundle / ".gitattributes").write_bytes(b"x")  # what the format's own tool leaves out by default


def nested(bundle: Path) -> None:
    (bundle / "engine" / SIGNATURE).write_bytes(b"x")


def removed(bundle: Path) -> None:
    (bundle / "report.md").unlink()


def swapped(bundle: Path) -> None:
    one, other = bundle / "model.onnx", bundle / "report.md"
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)


def linked(bundle: Path) -> None:
    (bundle / "model.onnx").rename(bundle.parent / "model.onnx")
    (bundle / "model.onnx").symlink_to(bundle.parent / "model.onnx")


def linked_directory(bundle: Path) -> None:
    (bundle / "engine").rename(bundle.parent / "engine")
    (bundle / "engine").symlink_to(bundle.parent / "engine")


def linked_signature(bundle: Path) -> None:
    (bundle / SIGNATURE).rename(bundle.parent / SIGNATURE)
    (bundle / SIGNATURE).symlink_to(bundle.parent / SIGNATURE)


def piped(bundle: Path) -> None:
    os.mkfifo(bundle / "pipe")


def unsigned(bundle: Path) -> None:
    (bundle / SIGNATURE).unlink()


def no_manifest(bundle: Path) -> None:
    (bundle / MANIFEST).unlink()


def odd_name(bundle: Path) -> None:
    Path(os.fsdecode(os.fsencode(bundle) + b"/\xff.bin")).write_bytes(b"x")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (added, "engine/extra.bin was not signed"),
        (hidden, ".gitattributes was not signed"),
        (nested, f"engine/{SIGNATURE} was not signed"),
        (removed, "report.md is missing"),
        (swapped, "model.onnx is not what was signed; report.md is not what was signed"),
        (linked, "model.onnx is a link"),
        (linked_directory, "engine is a link"),
        (linked_signature, "is not the file of a signature"),
        (piped, "pipe is no regular file"),
        (unsigned, "is not signed: it has no model.sig"),
        (no_manifest, f"{MANIFEST} is missing"),
        (odd_name, "\\xff.bin was not signed"),
    ],
)
def test_what_is_added_replaced_or_linked_is_named(
    signed: Path, keys: Path, change: Callable[[Path], None], said: str
) -> None:
    change(signed)
    assert said in fault(signed, keys / "p256.pub")


def test_a_signature_by_another_key_is_told_from_one_that_was_changed(signed: Path, keys: Path) -> None:
    assert "is by the key" in fault(signed, keys / "other.pub")
    envelope = json.loads((signed / SIGNATURE).read_text())
    envelope["verificationMaterial"]["publicKey"]["hint"] = load_public_key(keys / "other.pub").fingerprint
    (signed / SIGNATURE).write_text(json.dumps(envelope))
    assert "was not made by" in fault(signed, keys / "other.pub")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"mediaType": 1}', "\x00\xff", "null"])
def test_what_is_no_signature_is_said(signed: Path, keys: Path, text: str) -> None:
    (signed / SIGNATURE).write_bytes(text.encode("latin-1"))
    assert "is not a model signature by a key" in fault(signed, keys / "p256.pub")


def test_a_changed_bundle_is_not_signed(bundle: Path, keys: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"x")
    with pytest.raises(VerificationError, match=r"model\.onnx was changed"):
        sign_bundle(bundle, load_private_key(keys / "p256.pem"))
    assert not (bundle / SIGNATURE).exists()


@pytest.fixture
def reference(bundle: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The format's own tool on the bundle and its signature."""
    pytest.importorskip("model_signing", reason="model-signing is not installed")

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        verb, *more = map(str, words)
        return subprocess.run(
            [sys.executable, "-m", "model_signing", verb, "key", bundle, "--signature", bundle / SIGNATURE, *more],
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


Reference = Callable[..., subprocess.CompletedProcess[str]]
SLOW = pytest.mark.slow  # the tool takes more than a second to start
EACH = pytest.mark.parametrize("curve", ["p256", pytest.param("p384", marks=SLOW), pytest.param("p521", marks=SLOW)])


@EACH
def test_the_formats_own_tool_verifies_what_we_sign(bundle: Path, keys: Path, curve: str, reference: Reference) -> None:
    sign_bundle(bundle, load_private_key(keys / f"{curve}.pem"))
    done = reference("verify", "--public_key", keys / f"{curve}.pub")
    assert done.returncode == 0, done.stdout + done.stderr
    (bundle / "model.onnx").write_bytes(b"x")
    done = reference("verify", "--public_key", keys / f"{curve}.pub")
    assert done.returncode != 0
    assert "model.onnx" in done.stdout + done.stderr


@EACH
def test_what_the_formats_own_tool_signs_we_verify(bundle: Path, keys: Path, curve: str, reference: Reference) -> None:
    done = reference("sign", "--private_key", keys / f"{curve}.pem")
    assert done.returncode == 0, done.stdout + done.stderr
    check_signature(bundle, load_public_key(keys / f"{curve}.pub"))
    (bundle / "model.onnx").write_bytes(b"x")
    assert "model.onnx is not what was signed" in fault(bundle, keys / f"{curve}.pub")


@pytest.mark.parametrize("name", ["ed25519", pytest.param("rsa", marks=SLOW), pytest.param("k256", marks=SLOW)])
def test_the_formats_own_tool_refuses_the_keys_that_we_refuse(keys: Path, name: str, reference: Reference) -> None:
    assert reference("sign", "--private_key", keys / f"{name}.pem").returncode != 0


def test_a_signature_that_the_formats_own_tool_made_is_kept(tmp_path: Path) -> None:
    """Where that tool is not installed: a directory that model-signing 1.1.1 signed, with its public key."""
    kept = Path(__file__).parents[2] / "kept" / "model-signing-1.1.1"
    bundle = Path(shutil.copytree(kept / "signed", tmp_path / "signed"))
    check_signature(bundle, load_public_key(kept / "signing.pub"))
    assert sha256(bundle / "a") != sha256(bundle / "sub" / "b")
    (bundle / "sub" / "b").write_bytes(b"c\n")
    assert "sub/b is not what was signed" in fault(bundle, kept / "signing.pub")
