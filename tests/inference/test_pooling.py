"""Pooling with the channels last in memory has the values of PyTorch's."""

import pytest
import torch
import torch.nn.functional as F

from smallbignet.inference.pooling import clip_view, stem_max, window_view
from smallbignet.models.smallbig import stem_pool

SHAPES = [(2, 5, 7, 6, 3), (1, 1, 4, 4, 3), (1, 2, 1, 1, 3)]  # (N, T, H, W, C)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("window", [(3, 1, 1), (1, 3, 3), (3, 3, 3), (5, 5, 3), (3, 7, 7), (None, 3, 3), (None, 5, 1)], ids=str)
def test_a_window_of_stride_1(window, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    t, h, w = window
    kernel = (t or shape[1], h, w)
    around = [p for extent in (w, h, t or 1) for p in (extent // 2, extent // 2)]  # F.pad's order, from the last axis

    def pool(function, values: torch.Tensor, padding: float) -> torch.Tensor:
        return function(F.pad(values.movedim(-1, 1), around, value=padding), kernel, 1).movedim(1, -1)

    assert torch.equal(window_view(x.clone(), window, "max"), pool(F.max_pool3d, x, -torch.inf))
    mean = pool(F.avg_pool3d, x, 0) / pool(F.avg_pool3d, torch.ones_like(x), 0)
    torch.testing.assert_close(window_view(x, window, "avg"), mean)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_whole_clip(shape):
    x = torch.randn(shape)
    torch.testing.assert_close(clip_view(x, "max"), x.flatten(1, 3).amax(1))
    torch.testing.assert_close(clip_view(x, "avg"), x.flatten(1, 3).mean(1))


@pytest.mark.parametrize("interpreter", ["0", "1"], ids=["CPU", "as on a GPU"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_pooling_after_the_stem(shape, interpreter, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", interpreter)
    x = torch.randn(shape)
    assert torch.equal(stem_max(x), stem_pool(x.movedim(-1, 1)).movedim(1, -1))
