"""Products in bfloat16 within a block, and only there; exact ones by oneDNN."""

import pytest
import torch

from edgepress.exporter.decoding import products
from edgepress.exporter.decoding.products import exact_products, fast_products, multiplies_bfloat16


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


@pytest.mark.parametrize("rows", [(3,), (5, 40), (200,)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_by_onednn_are_those_of_torch_in_float32(rows, bias, monkeypatch):
    monkeypatch.setattr(products, "_PART", 1 << 10)  # so that the outputs come in several parts, the last a short one
    given, usual = [], torch.Tensor.to_mkldnn
    monkeypatch.setattr(torch.Tensor, "to_mkldnn", lambda x: given.append(x.shape) or usual(x))
    seeded = torch.Generator().manual_seed(0)
    layer, x = torch.nn.Linear(96, 70, bias=bias), torch.randn(*rows, 96, generator=seeded)
    with torch.no_grad():
        with exact_products():
            found = layer(x)
        exact = layer.double()(x.double())
    assert bool(given) == (rows != (3,) and torch.backends.mkldnn.is_available())
    assert found.dtype == torch.float32 and found.shape == exact.shape
    assert float((found - exact).norm() / exact.norm()) < 1e-6
