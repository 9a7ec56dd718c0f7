"""Products in bfloat16 within a block, and only there."""

import pytest
import torch

from edgepress.exporter.decoding.products import fast_products, multiplies_bfloat16


def off_by(a, b):
    exact = a.double() @ b.double()
    return float(((a @ b) - exact).norm() / exact.norm())


def test_products_are_exact_again_behind_the_block_also_where_it_fails():
    a, b = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(0))
    before = off_by(a, b)
    with pytest.raises(ZeroDivisionError), fast_products():
        within, asked = off_by(a, b), torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
        raise ZeroDivisionError
    assert before < 1e-6 and off_by(a, b) < 1e-6
    # oneDNN is free to stay exact, as it does on a processor with AVX-512 BF16 and without AMX.
    assert (asked == "bf16") == multiplies_bfloat16()
    assert within < (1e-2 if multiplies_bfloat16() else 1e-6)
