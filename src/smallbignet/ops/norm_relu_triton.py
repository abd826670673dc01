"""The passes over memory of `norm_relu.py`, in Triton. A channels_last_3d tensor is seen as a table of positions x channels.

Where `big` has one frame for all T, a program handles a block of positions and channels of `big` and walks through the T
frames of `x` that share it; else it handles one frame. Sums have a fixed order: first
within blocks, then over the blocks. The kernel of the second step also computes the values per channel, which would take longer
than the sums as PyTorch operations.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

ROWS, CHANNELS = 32, 64  # in a block
PROGRAMS = 1024  # the largest number of partial results
PARTS, FEW_CHANNELS = 64, 16  # in a block of partial results
Coefficients = tuple[Tensor | None, Tensor | None, Tensor]  # factor, factor_big and shift, (C,); a factor of None is 1
Statistics = tuple[Tensor, Tensor]  # mean and 1 / standard deviation of a normalisation's input, (C,) in float32


def statistics(x: Tensor, bn: nn.BatchNorm3d, shift: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what a normalisation in training mode computes from `x`, and update its running statistics.

    Args:
        shift: that of another normalisation, whose result is added to this one's.

    Returns:
        mean, 1 / standard deviation, factor and shift, (C,) in float32: `bn(x)` is `factor * x + shift`.
    """
    rows, c = x.numel() // x.shape[1], x.shape[1]
    steps = triton.cdiv(triton.cdiv(rows, ROWS), PROGRAMS)
    parts = triton.cdiv(rows, ROWS * steps)
    moments = torch.empty((2, parts, c), dtype=torch.float32, device=x.device)
    _moments[parts, triton.cdiv(c, CHANNELS)](x, moments, rows, c, steps, ROWS=ROWS, CHANNELS=CHANNELS)
    out = torch.empty((4, c), dtype=torch.float32, device=x.device)
    tensors = (moments, bn.weight, bn.bias, shift, bn.running_mean, bn.running_var, bn.num_batches_tracked, out)
    sizes = (float(rows), float(rows - 1), float(ROWS * steps), parts, c)
    blocks = {"PARTS": PARTS, "CHANNELS": FEW_CHANNELS}
    _finish_moments[(triton.cdiv(c, FEW_CHANNELS),)](*tensors, *sizes, bn.momentum, bn.eps, **blocks)
    mean, scale, factor, shift = out
    return mean, scale, factor, shift


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
    statistics: Statistics,
    statistics_big: Statistics | None,
    relu: bool,
) -> tuple[Tensor, ...]:
    """Return what is summed over all positions for the gradients, seven times (C,) in float32.

    Here `g` is the gradient before the ReLU. Where the ReLU let a value pass is read from its output `y`; without `y` it is
    computed from the inputs, which must then include no shortcut.

    Returns:
        the gradient of the bias, which is that of the other bias, too; the gradient of the weight; b and c such that the
        gradient of `x` is `factor * g + b * x + c`; and the last three for `big`, without meaning where there is none.
    """
    columns, frames, size, c = _shape(x, big)
    steps = triton.cdiv(triton.cdiv(columns, ROWS), PROGRAMS)
    parts = triton.cdiv(columns, ROWS * steps)
    sums = torch.empty((3, parts, c), dtype=torch.float32, device=x.device)
    mean, scale = statistics
    mean_big, scale_big = statistics_big or (None, None)
    arguments = (grad, y, x, big, *coefficients, mean, mean_big, sums, columns, frames, size, c, steps)
    _sums[parts, triton.cdiv(c, CHANNELS)](*arguments, RELU=relu, ROWS=ROWS, CHANNELS=CHANNELS)
    out = torch.empty((7, c), dtype=torch.float32, device=x.device)
    factor, factor_big, _ = coefficients
    tensors = (sums, mean, scale, factor, mean_big, scale_big, factor_big, out)
    sizes = (float(columns * frames), float(columns), parts, c)
    _finish_sums[(triton.cdiv(c, FEW_CHANNELS),)](*tensors, *sizes, PARTS=PARTS, CHANNELS=FEW_CHANNELS)
    return out.unbind()


def gradients(
    grad: Tensor,
    y: Tensor | None,
    x: Tensor,
    coefficients: Coefficients,
    big: Tensor | None,
    terms: Sequence[Tensor],
    relu: bool,
    has_shortcut: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the gradients of `x`, of `big` and of the shortcut.

    The first two are `factor * g + b * input + c`, with `g` as in `sums` and `input` being `x` or `big`; the last is `g`.

    Args:
        terms: what `sums` returned.
    """
    columns, frames, size, c = _shape(x, big)
    out, out_big = torch.empty_like(x), None if big is None else torch.empty_like(big)
    passed = torch.empty_like(x) if has_shortcut and relu else None
    grid = (triton.cdiv(columns, ROWS), triton.cdiv(c, CHANNELS))
    _, _, b, k, _, b_big, k_big = terms
    tensors = (grad, y, x, big, *coefficients, out, out_big, passed, b, k, b_big, k_big)
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
        value = _load(big, inside, used)
        if factor_big is not None:
            value *= _load(factor_big, channel, exists)[None, :]
        common += value
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
def _moments(x, moments, rows, c, steps, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """Store the mean of a part's rows, and the sum of squares of their differences from it.

    Each row of the block has its own (Welford's algorithm), and they are joined at the end (Chan's): both stay exact for means
    far from zero.
    """
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    count = tl.full((ROWS,), 0.0, tl.float32)
    mean = tl.full((ROWS, CHANNELS), 0.0, tl.float32)
    squares = tl.full((ROWS, CHANNELS), 0.0, tl.float32)
    for step in range(steps):
        row = (tl.program_id(0) * steps + step) * ROWS + tl.arange(0, ROWS)
        there = (row < rows)[:, None] & (channel < c)[None, :]
        value = tl.load(x + row.to(tl.int64)[:, None] * c + channel[None, :], mask=there, other=0.0).to(tl.float32)
        count += tl.where(row < rows, 1.0, 0.0)
        off = tl.where(there, value - mean, 0.0)
        mean += off * (1.0 / tl.maximum(count, 1.0))[:, None]
        squares += off * (value - mean)
    whole = tl.reduce(mean * count[:, None], 0, _add) / tl.reduce(count, 0, _add)
    off = mean - whole[None, :]
    there = tl.program_id(0) * c + channel
    tl.store(moments + there, whole, mask=channel < c)
    joined = tl.reduce(squares + off * off * count[:, None], 0, _add)
    tl.store(moments + tl.num_programs(0) * c + there, joined, mask=channel < c)


@triton.jit
def _part(start, parts, c, PARTS: tl.constexpr, CHANNELS: tl.constexpr):
    """Return a block's parts, offsets in a table of parts x channels, and which elements exist."""
    part = start + tl.arange(0, PARTS)
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    return part, part[:, None] * c + channel[None, :], (part < parts)[:, None] & (channel < c)[None, :]


@triton.jit
def _finish_moments(
    moments, weight, bias, other_shift, running_mean, running_variance, batches, out,
    rows, rows_less_one, rows_of_part, parts, c, momentum, eps, PARTS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    exists = channel < c
    mean = tl.full((CHANNELS,), 0.0, tl.float32)
    for start in range(0, parts, PARTS):
        part, there, used = _part(start, parts, c, PARTS, CHANNELS)
        count = tl.minimum(rows - part.to(tl.float32) * rows_of_part, rows_of_part)
        mean += tl.reduce(_load(moments, there, used) * count[:, None], 0, _add)
    mean /= rows
    squares = tl.full((CHANNELS,), 0.0, tl.float32)
    for start in range(0, parts, PARTS):
        part, there, used = _part(start, parts, c, PARTS, CHANNELS)
        count = tl.minimum(rows - part.to(tl.float32) * rows_of_part, rows_of_part)
        off = tl.where(used, _load(moments, there, used) - mean[None, :], 0.0)
        squares += tl.reduce(_load(moments + parts * c, there, used) + off * off * count[:, None], 0, _add)
    scale = 1.0 / tl.sqrt_rn(squares / rows + eps)
    factor = _load(weight, channel, exists) * scale
    shift = _load(bias, channel, exists) - mean * factor
    if other_shift is not None:
        shift += _load(other_shift, channel, exists)
    tl.store(out + channel, mean, mask=exists)
    tl.store(out + c + channel, scale, mask=exists)
    tl.store(out + 2 * c + channel, factor, mask=exists)
    tl.store(out + 3 * c + channel, shift, mask=exists)
    running = _load(running_mean, channel, exists)
    tl.store(running_mean + channel, running + momentum * (mean - running), mask=exists)
    running = _load(running_variance, channel, exists)
    tl.store(running_variance + channel, running + momentum * (squares / rows_less_one - running), mask=exists)
    if tl.program_id(0) == 0:
        tl.store(batches, tl.load(batches) + 1)


@triton.jit
def _apply(
    x, big, shortcut, y, factor, factor_big, shift, columns, frames, size, c,
    RELU: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    channel, exists, inside, first, used = _place(tl.program_id(0) * ROWS, columns, frames, size, c, ROWS, CHANNELS)
    common = _common(big, inside, used, factor_big, shift, channel, exists)
    for frame in range(frames):
        there = first + frame * size * c
        out = _load(x, there, used)
        if factor is not None:
            out *= _load(factor, channel, exists)[None, :]
        out += common
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
def _finish_sums(
    sums, mean, scale, factor, mean_big, scale_big, factor_big, out, count, count_big, parts, c,
    PARTS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    total = tl.full((CHANNELS,), 0.0, tl.float32)
    with_x = tl.full((CHANNELS,), 0.0, tl.float32)
    with_big = tl.full((CHANNELS,), 0.0, tl.float32)
    for start in range(0, parts, PARTS):
        _, there, used = _part(start, parts, c, PARTS, CHANNELS)
        total += tl.reduce(_load(sums, there, used), 0, _add)
        with_x += tl.reduce(_load(sums + parts * c, there, used), 0, _add)
        with_big += tl.reduce(_load(sums + 2 * parts * c, there, used), 0, _add)
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    tl.store(out + channel, total, mask=channel < c)
    _store_terms(out + c, total, with_x, mean, scale, factor, count, c, channel)
    if mean_big is not None:
        _store_terms(out + 4 * c, total, with_big, mean_big, scale_big, factor_big, count_big, c, channel)


@triton.jit
def _store_terms(out, total, with_input, mean, scale, factor, count, c, channel):
    """Store the gradient of a normalisation's weight, and b and c of the gradient of its input."""
    exists = channel < c
    scale, factor = _load(scale, channel, exists), _load(factor, channel, exists)
    grad_weight = with_input * scale
    b = -factor * scale * grad_weight / count
    tl.store(out + channel, grad_weight, mask=exists)
    tl.store(out + c + channel, b, mask=exists)
    tl.store(out + 2 * c + channel, -factor * total / count - b * _load(mean, channel, exists), mask=exists)


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
