"""What a refusal of int8 says of other samples."""

import pytest

from edgepress.exporter.candidates.lower import _sure
from edgepress.profiles.findings.parity import Parity


@pytest.mark.parametrize(("lower_db", "differ"), [(9.8, False), (2.0, True)])
def test_samples_are_said_to_differ_much_only_where_what_is_sure_lies_far_below(lower_db: float, differ: bool) -> None:
    told = _sure(Parity(sqnr_db=10.3, max_abs=1, cosine=1, argmax=1, lower_db=lower_db))
    assert ("samples differ so much" in told) == differ
    assert told.startswith(", and ") and told.endswith(f"of others like them only {lower_db:.1f} dB is sure")
