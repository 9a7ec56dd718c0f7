"""The forms in which decoders are written, by the name of the backend that opens them."""

from __future__ import annotations

from ...errors import UnservedError
from ...profiles.device.target import Target
from ...profiles.registry import Registry
from .writers.base import DecoderForm

FORMS = Registry("edgepress.decoder_forms", "form of decoders")


def load_form(target: Target) -> DecoderForm:
    """The form for a target.

    Raises:
        UnservedError: its backend has none.
    """
    if target.backend not in FORMS.names():
        raise UnservedError(
            f"Target {target.name} has no form for models that write text: {target.backend} has no library for them "
            "that edgepress knows.",
            hint=f"Choose a target of {' or '.join(FORMS.names())}.",
        )
    form = FORMS.load(target.backend)
    if isinstance(form, type) and issubclass(form, DecoderForm):
        return form()
    raise UnservedError(f"What is registered as the form {target.backend!r} is {form!r}, which is no such DecoderForm.")
