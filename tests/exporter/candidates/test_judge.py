"""What a device is held to."""

import pytest

from edgepress.exporter.candidates.candidate import OwnGolden
from edgepress.exporter.candidates.judge import least_graph_db, lenient
from edgepress.profiles.findings.parity import Parity


def seen(db):
    return {"output": Parity(sqnr_db=db, max_abs=0.1, cosine=1.0, argmax=1.0)}


@pytest.mark.parametrize(
    ("db", "bound"), [(34.51, 28.0), (34.93, 28.0), (26.2, 20.5), (99.0, 40.0), (float("inf"), 40.0)]
)
def test_a_bound_is_the_same_though_a_run_adds_up_in_another_order(db, bound):
    assert lenient(20.5, seen(db)) == bound == lenient(20.5, seen(db + 0.04))


@pytest.mark.parametrize(("db", "bound"), [(33.1, 27.0), (60.0, 30.0), (float("inf"), 30.0), (2.0, 0.0)])
def test_so_is_the_one_against_the_engine_s_own_graph(db, bound):
    assert least_graph_db(OwnGolden(outputs=(), engine_db=db)) == bound
