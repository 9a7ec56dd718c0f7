"""The forms of a model signature, as they are written and parsed.

Every field is known and none is left over, so that no bit of the file can change unseen. The statement inside is
signed, and the format lets it have more fields than these.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Whole(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel, populate_by_name=True)


class _Signed(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Hint(_Whole):
    """Which key it was: sha256 of its PEM text."""

    hint: Sha256


class Material(_Whole):
    """By what it is verified; without a certificate and without a log."""

    public_key: Hint
    tlog_entries: tuple[()] = ()


class Signature(_Whole):
    """A signature in base64."""

    sig: str
    keyid: Literal[""] = ""


class Dsse(_Whole):
    """The signed payload in base64, and its one signature."""

    payload: str
    payload_type: Literal["application/vnd.in-toto+json"]
    signatures: tuple[Signature]


class Envelope(_Whole):
    """The whole file, a sigstore bundle 0.3."""

    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"]
    verification_material: Material
    dsse_envelope: Dsse

    @classmethod
    def of(cls, payload: str, signature: Signature, fingerprint: str) -> Envelope:
        """The envelope of a payload, in base64, that the key of this fingerprint signed."""
        return cls(
            media_type=MEDIA_TYPE,
            verification_material=Material(public_key=Hint(hint=fingerprint)),
            dsse_envelope=Dsse(payload=payload, payload_type=PAYLOAD_TYPE, signatures=(signature,)),
        )


class Resource(_Signed):
    """A file and its digest."""

    name: str
    algorithm: Literal["sha256"]
    digest: Sha256


class Serialization(_Signed):
    """How files were hashed: whole, and none through a link."""

    method: Literal["files"]
    hash_type: Literal["sha256"]
    allow_symlinks: Literal[False]


class Predicate(_Signed):
    """The files."""

    serialization: Serialization
    resources: tuple[Resource, ...]


class Statement(_Signed):
    """What is signed."""

    kind: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    predicate_type: Literal["https://model_signing/signature/v1.0"] = Field(alias="predicateType")
    predicate: Predicate
