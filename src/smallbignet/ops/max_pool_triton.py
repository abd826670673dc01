"""The max pooling of `max_pool.py` in Triton: gradients are gathered in a fixed order.

One byte is kept per element, or two for windows of more than 256 elements.

Each program handles a block of positions and channels and walks along the frames. A frame's 2-D maximum is computed once for
the three windows that the frame belongs to, so a 3x3x3 window loads each element nine times, not 27, and mostly from the cache.
Both memory formats look the same to it: (outer, T, H, W, inner) is (N, T, H, W, C) or (N*C, T, H, W, 1).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

Window = tuple[int | None, int, int]  # as in `max_pool.py`, which imports this module
BLOCK = 1024  # elements per program


def pool_forward(x: Tensor, window: Window, taps: bool = True) -> tuple[Tensor, Tensor | None]:
    """Return the pooled (N, C, T or 1, H, W) and, with `taps`, which element of the window each value is, in scan order.

    These numbers take one byte each, or two where the window has more than 256 elements (3 x 3 over more than 28 frames).
    """
    t, h, w = window
    x = x.contiguous(memory_format=_format(x))
    y = _empty(x, x.shape[2] if t else 1, x.dtype)
    numbers = _empty(x, y.shape[2], torch.uint8 if (t or x.shape[2]) * h * w <= 256 else torch.int16) if taps else None
    _launch(_forward, x, (x, y, numbers), window)
    return y, numbers


def pool_backward(grad: Tensor, grad_big: Tensor, taps: Tensor, window: Window) -> Tensor:
    """Return the gradient of `pool_forward`'s input.

    Args:
        grad: the gradient that the input has from elsewhere; it is added.
        grad_big: the gradient of the pooled result.
        taps: the numbers that `pool_forward` returned.
    """
    grad, grad_big = (g.contiguous(memory_format=_format(taps)) for g in (grad, grad_big))
    out = torch.empty_like(grad)
    _launch(_backward, out, (grad, grad_big, taps, out), window)
    return out


def _format(x: Tensor) -> torch.memory_format:
    last = torch.channels_last_3d
    return last if x.is_contiguous(memory_format=last) and not x.is_contiguous() else torch.contiguous_format


def _empty(like: Tensor, frames: int, dtype: torch.dtype) -> Tensor:
    n, c, _, h, w = like.shape
    return torch.empty((n, c, frames, h, w), dtype=dtype, device=like.device, memory_format=_format(like))


def _launch(kernel, x: Tensor, tensors: tuple[Tensor | None, ...], window: Window) -> None:
    (n, c, frames, height, width), (t, h, w) = x.shape, window
    inner = c if _format(x) == torch.channels_last_3d else 1
    columns = n * c * height * width
    block = BLOCK if inner % 16 == 0 and h * w <= 9 else BLOCK // 4  # more elements would not fit a thread's registers
    grid = (triton.cdiv(columns, block),)
    kernel[grid](*tensors, columns, frames, height, width, inner, KT=t or 0, KH=h, KW=w, BLOCK=block)


@triton.jit
def _columns(columns, T, H, W, inner, BLOCK: tl.constexpr):
    """Locate a block of columns (a column is all frames of one position and channel).

    Returns which columns exist, h, w, the offset of frame 0, and the offset in a tensor of one frame.
    """
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    w = p // inner % W
    h = p // (inner * W) % H
    outer = (p // (inner * W * H)).to(tl.int64)
    inside = p % (inner * W * H)
    return p < columns, h, w, outer * T * (H * W * inner) + inside, outer * (H * W * inner) + inside


@triton.jit
def _better(best, tap, value, number):
    """PyTorch's rule: a later element replaces the maximum if it is larger or not a number."""
    wins = (value > best) | (value != value)
    return tl.where(wins, value, best), tl.where(wins, number, tap)


@triton.jit
def _store(y, taps, there, used, best, tap):
    tl.store(y + there, best.to(y.dtype.element_ty), mask=used)
    _store_taps(taps, there, used, tap)


@triton.jit
def _store_taps(taps, there, used, tap):
    if taps is not None:
        tl.store(taps + there, tap.to(taps.dtype.element_ty), mask=used)


@triton.jit
def _forward(x, y, taps, columns, T, H, W, inner, KT: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, BLOCK: tl.constexpr):
    used, h, w, start, alone = _columns(columns, T, H, W, inner, BLOCK)
    frame = H * W * inner
    plane: tl.constexpr = KH * KW
    low = tl.full((BLOCK,), float("-inf"), tl.float32)
    middle = tl.full((BLOCK,), KH // 2 * KW + KW // 2, tl.int32)
    last, last_tap = low, middle  # the last frame, or with KT == 0 all frames so far
    # The maximum over the last two frames. Carrying the frame before the last one instead would be wrong on a GPU: Triton (3.6
    # and 3.8) drops a tensor that one turn of a loop hands to the next unchanged, and uses its initial value.
    pair, pair_tap = low, middle
    for t in range(T):
        best, tap = low, middle
        for dh in tl.static_range(KH):
            for dw in tl.static_range(KW):
                row, column = h + dh - KH // 2, w + dw - KW // 2
                inside = used & (row >= 0) & (row < H) & (column >= 0) & (column < W)
                there = start + t * frame + ((dh - KH // 2) * W + dw - KW // 2) * inner
                value = tl.load(x + there, mask=inside, other=float("-inf")).to(tl.float32)
                best, tap = _better(best, tap, value, dh * KW + dw)
        if KT == 0:  # all frames are one window
            last, last_tap = _better(last, last_tap, best, tap + t * plane)
        elif KT == 1:
            _store(y, taps, start + t * frame, used, best, tap)
        else:  # the window around the last frame is complete now
            if t > 0:
                whole, whole_tap = _better(pair, pair_tap, best, tap + 2 * plane)
                _store(y, taps, start + (t - 1) * frame, used, whole, whole_tap)
            pair, pair_tap = _better(last, last_tap, best, tap + plane)
            last, last_tap = best, tap
    if KT == 0:
        _store(y, taps, alone, used, last, last_tap)
    elif KT == 3:
        _store(y, taps, start + (T - 1) * frame, used, pair, pair_tap)


@triton.jit
def _store_sum(out, grad, there, used, value):
    value += tl.load(grad + there, mask=used, other=0.0).to(tl.float32)
    tl.store(out + there, value.to(out.dtype.element_ty), mask=used)


@triton.jit
def _backward(
    grad, grad_big, taps, out, columns, T, H, W, inner,
    KT: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    used, h, w, start, alone = _columns(columns, T, H, W, inner, BLOCK)
    frame = H * W * inner
    plane: tl.constexpr = KH * KW
    before = tl.full((BLOCK,), 0.0, tl.float32)  # the gradient of the frame before this one, so far
    this = tl.full((BLOCK,), 0.0, tl.float32)
    for t in range(T):
        following = tl.full((BLOCK,), 0.0, tl.float32)
        windows = alone if KT == 0 else start + t * frame
        for dh in tl.static_range(KH):
            for dw in tl.static_range(KW):
                # the centre of the window in which this position is element (dh, dw)
                row, column = h - dh + KH // 2, w - dw + KW // 2
                inside = used & (row >= 0) & (row < H) & (column >= 0) & (column < W)
                there = windows + ((KH // 2 - dh) * W + KW // 2 - dw) * inner
                value = tl.load(grad_big + there, mask=inside, other=0.0).to(tl.float32)
                tap = tl.load(taps + there, mask=inside, other=0).to(tl.int32) - (dh * KW + dw)
                if KT == 0:
                    this += tl.where(tap == t * plane, value, 0.0)
                elif KT == 1:
                    this += tl.where(tap == 0, value, 0.0)
                else:
                    before += tl.where(tap == 0, value, 0.0)
                    this += tl.where(tap == plane, value, 0.0)
                    following += tl.where(tap == 2 * plane, value, 0.0)
        if KT == 3:
            if t > 0:
                _store_sum(out, grad, start + (t - 1) * frame, used, before)
        else:
            _store_sum(out, grad, start + t * frame, used, this)
        before, this = this, following
    if KT == 3:
        _store_sum(out, grad, start + (T - 1) * frame, used, before)
