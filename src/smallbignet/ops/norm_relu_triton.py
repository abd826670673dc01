"""The passes over memory of `norm_relu.py`, in Triton. A channels_last_3d tensor is seen as a table of positions x channels.

Where `big` has one frame for all T, a program handles a block of positions and channels of `big` and walks through the T
frames of `x` that share it; else it handles one frame. Sums are made in a fixed order: one number per block, then over blocks.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, CHANNELS = 32, 64  # in a block
PROGRAMS = 1024  # the largest number of partial sums
Coefficients = tuple[Tensor, Tensor | None, Tensor]  # factor, factor_big and shift, (C,) in float32


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return each channel's mean and (biased) variance, (C,) in float32."""
    rows, c = x.numel() // x.shape[1], x.shape[1]
    steps = triton.cdiv(triton.cdiv(rows, ROWS), PROGRAMS)
    parts = triton.cdiv(rows, ROWS * steps)
    mean, squares = torch.empty((2, parts, c), dtype=torch.float32, device=x.device)
    grid = (parts, triton.cdiv(c, CHANNELS))
    _moments[grid](x, mean, squares, rows, c, steps, ROWS=ROWS, CHANNELS=CHANNELS)
    counts = (rows - torch.arange(parts, device=x.device) * ROWS * steps).clamp(max=ROWS * steps)[:, None]
    whole = (mean * counts).sum(0) / rows
    return whole, (squares + (mean - whole).square() * counts).sum(0) / rows


def apply(x: Tensor, big: Tensor | None, coefficients: Coefficients, shortcut: Tensor | None, relu: bool) -> Tensor:
    """Return `relu(factor * x + factor_big * big + shift + shortcut)`, shaped as `x`."""
    y = torch.empty_like(x)
    if shortcut is not None:
        shortcut = shortcut.contiguous(memory_format=torch.channels_last_3d)
    columns, frames, size, c = _shape(x, big)
    grid = (triton.cdiv(columns, ROWS), triton.cdiv(c, CHANNELS))
    arguments = (x, big, shortcut, y, *coefficients, columns, frames, size, c)
    _apply[grid](*arguments, RELU=relu, ROWS=ROWS, CHANNELS=CHANNELS)
    return y


def sums(
    grad: Tensor,
    y: Tensor | None,
    x: Tensor,
    coefficients: Coefficients,
    big: Tensor | None,
    mean: Tensor,
    mean_big: Tensor | None,
    relu: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each channel's sums of `g`, `g * (x - mean)` and `g * (big - mean_big)` over all positions, (C,) in float32.

    Here `g` is the gradient before the ReLU. Where the ReLU let a value pass is read from its output `y`; without `y` it is
    computed from the inputs, which must then include no shortcut.
    """
    columns, frames, size, c = _shape(x, big)
    steps = triton.cdiv(triton.cdiv(columns, ROWS), PROGRAMS)
    parts = triton.cdiv(columns, ROWS * steps)
    out = torch.empty((3, parts, c), dtype=torch.float32, device=x.device)
    grid = (parts, triton.cdiv(c, CHANNELS))
    arguments = (grad, y, x, big, *coefficients, mean, mean_big, out, columns, frames, size, c, steps)
    _sums[grid](*arguments, RELU=relu, ROWS=ROWS, CHANNELS=CHANNELS)
    total, with_x, with_big = out.sum(1)
    return total, with_x, with_big


def gradients(
    grad: Tensor,
    y: Tensor | None,
    x: Tensor,
    coefficients: Coefficients,
    big: Tensor | None,
    terms: tuple[Tensor, Tensor],
    terms_big: tuple[Tensor, Tensor] | None,
    relu: bool,
    has_shortcut: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the gradients of `x`, of `big` and of the shortcut, with `g` as in `sums`.

    The first two are `factor * g + b * input + c`, where `terms` and `terms_big` hold b and c; the last is `g`.
    """
    columns, frames, size, c = _shape(x, big)
    out, out_big = torch.empty_like(x), None if big is None else torch.empty_like(big)
    passed = torch.empty_like(x) if has_shortcut and relu else None
    grid = (triton.cdiv(columns, ROWS), triton.cdiv(c, CHANNELS))
    tensors = (grad, y, x, big, *coefficients, out, out_big, passed, *terms, *(terms_big or (None, None)))
    _gradients[grid](*tensors, columns, frames, size, c, RELU=relu, ROWS=ROWS, CHANNELS=CHANNELS)
    return out, out_big, grad if has_shortcut and not relu else passed


def _shape(x: Tensor, big: Tensor | None) -> tuple[int, int, int, int]:
    """Return the sizes that the kernels take.

    They are: columns (the positions of `big`), frames in each, columns that are adjacent in memory, and channels.
    """
    n, c, t, h, w = x.shape
    frames = t if big is not None and big.shape[2] == 1 else 1
    return n * t * h * w // frames, frames, t * h * w // frames, c


@triton.jit
def _add(a, b):  # tl.sum would do, but the interpreter lacks it where Triton was imported before the interpreter was requested
    return a + b


@triton.jit
def _place(start, columns, frames, size, c, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """Return a block's channels, which of those exist, offsets in `big` and in frame 0 of `x`, and which elements exist."""
    column = start + tl.arange(0, ROWS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    row = (column // size).to(tl.int64) * frames * size + column % size
    used = (column < columns)[:, None] & (channel < c)[None, :]
    inside = column.to(tl.int64)[:, None] * c + channel[None, :]
    return channel, channel < c, inside, row[:, None] * c + channel[None, :], used


@triton.jit
def _load(x, there, used):
    return tl.load(x + there, mask=used, other=0.0).to(tl.float32)


@triton.jit
def _common(big, inside, used, factor_big, shift, channel, exists):
    """Return the part that all frames of a column share: `factor_big * big + shift`."""
    common = _load(shift, channel, exists)[None, :]
    if big is not None:
        common += _load(big, inside, used) * _load(factor_big, channel, exists)[None, :]
    return common


@triton.jit
def _before_relu(grad, y, value, scale, common, there, used, RELU: tl.constexpr):
    g = _load(grad, there, used)
    if RELU:
        if y is not None:
            g = tl.where(_load(y, there, used) > 0, g, 0.0)
        else:
            g = tl.where(value * scale + common > 0, g, 0.0)
    return g


@triton.jit
def _moments(x, mean, squares, rows, c, steps, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    count = tl.full((CHANNELS,), 0.0, tl.float32)
    average = tl.full((CHANNELS,), 0.0, tl.float32)
    m2 = tl.full((CHANNELS,), 0.0, tl.float32)
    for step in range(steps):
        row = (tl.program_id(0) * steps + step) * ROWS + tl.arange(0, ROWS)
        used = (row < rows)[:, None] & (channel < c)[None, :]
        value = tl.load(x + row.to(tl.int64)[:, None] * c + channel[None, :], mask=used, other=0.0).to(tl.float32)
        here = tl.minimum(tl.maximum(rows - (tl.program_id(0) * steps + step) * ROWS, 0), ROWS).to(tl.float32)
        middle = tl.reduce(value, 0, _add) / tl.maximum(here, 1.0)
        off = tl.where(used, value - middle[None, :], 0.0)
        delta = middle - average  # Chan's parallel form, which stays exact for means far from zero
        whole = tl.maximum(count + here, 1.0)
        m2 += tl.reduce(off * off, 0, _add) + delta * delta * count * here / whole
        average += delta * here / whole
        count += here
    there = tl.program_id(0) * c + channel
    tl.store(mean + there, average, mask=channel < c)
    tl.store(squares + there, m2, mask=channel < c)


@triton.jit
def _apply(
    x, big, shortcut, y, factor, factor_big, shift, columns, frames, size, c,
    RELU: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    channel, exists, inside, first, used = _place(tl.program_id(0) * ROWS, columns, frames, size, c, ROWS, CHANNELS)
    scale = _load(factor, channel, exists)[None, :]
    common = _common(big, inside, used, factor_big, shift, channel, exists)
    for frame in range(frames):
        there = first + frame * size * c
        out = _load(x, there, used) * scale + common
        if shortcut is not None:
            out += _load(shortcut, there, used)
        if RELU:
            out = tl.where(out < 0, 0.0, out)  # a NaN stays
        tl.store(y + there, out.to(y.dtype.element_ty), mask=used)


@triton.jit
def _sums(
    grad, y, x, big, factor, factor_big, shift, mean, mean_big, out, columns, frames, size, c, steps,
    RELU: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    total = tl.full((ROWS, CHANNELS), 0.0, tl.float32)
    with_x = tl.full((ROWS, CHANNELS), 0.0, tl.float32)
    with_big = tl.full((ROWS, CHANNELS), 0.0, tl.float32)
    for step in range(steps):
        start = (tl.program_id(0) * steps + step) * ROWS
        channel, exists, inside, first, used = _place(start, columns, frames, size, c, ROWS, CHANNELS)
        scale = _load(factor, channel, exists)[None, :]
        common = _common(big, inside, used, factor_big, shift, channel, exists)
        middle = _load(mean, channel, exists)[None, :]
        shared = tl.full((ROWS, CHANNELS), 0.0, tl.float32)
        for frame in range(frames):
            there = first + frame * size * c
            value = _load(x, there, used)
            g = _before_relu(grad, y, value, scale, common, there, used, RELU)
            shared += g
            with_x += g * (value - middle)
        total += shared
        if big is not None:
            with_big += shared * (_load(big, inside, used) - _load(mean_big, channel, exists)[None, :])
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    there = tl.program_id(0) * c + channel
    part = tl.num_programs(0) * c
    tl.store(out + there, tl.reduce(total, 0, _add), mask=channel < c)
    tl.store(out + part + there, tl.reduce(with_x, 0, _add), mask=channel < c)
    tl.store(out + 2 * part + there, tl.reduce(with_big, 0, _add), mask=channel < c)


@triton.jit
def _gradients(
    grad, y, x, big, factor, factor_big, shift, out, out_big, passed, b, k, b_big, k_big, columns, frames, size, c,
    RELU: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    channel, exists, inside, first, used = _place(tl.program_id(0) * ROWS, columns, frames, size, c, ROWS, CHANNELS)
    scale = _load(factor, channel, exists)[None, :]
    common = _common(big, inside, used, factor_big, shift, channel, exists)
    b1, k1 = _load(b, channel, exists)[None, :], _load(k, channel, exists)[None, :]
    shared = tl.full((ROWS, CHANNELS), 0.0, tl.float32)
    for frame in range(frames):
        there = first + frame * size * c
        value = _load(x, there, used)
        g = _before_relu(grad, y, value, scale, common, there, used, RELU)
        shared += g
        tl.store(out + there, (scale * g + b1 * value + k1).to(out.dtype.element_ty), mask=used)
        if passed is not None:
            tl.store(passed + there, g.to(passed.dtype.element_ty), mask=used)
    if big is not None:
        scale_big = _load(factor_big, channel, exists)[None, :]
        b2, k2 = _load(b_big, channel, exists)[None, :], _load(k_big, channel, exists)[None, :]
        value = scale_big * shared + b2 * _load(big, inside, used) + k2
        tl.store(out_big + inside, value.to(out_big.dtype.element_ty), mask=used)
