"""3 x 3 convolutions by minimal filtering, F(4 x 4, 3 x 3): a quarter of the products, and the same result except for rounding.

A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016: a tile of 4 x 4 results depends on 6 x 6
inputs, and both are seen as polynomials, which are multiplied at six points. Their points are 0, +-1, +-2 and infinity. Those
used here, 0, +-2/3, +-3/2 and infinity, have less than half the rounding error (0.8e-6 instead of 1.9e-6, measured with 256
channels; a direct convolution has 0.5e-6). It is for float32 only: with bfloat16's eight bits the result is off by 2.5 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

P, Q = 2 / 3, 3 / 2
POINTS = (0, P, -P, Q, -Q)


class Winograd(nn.Module):
    """`relu(conv(x) + bias)` of images (N, H, W, C) on a CPU, with a stride of 1 and a padding of 1.

    Args:
        weight: (C', C, 3, 3).
        bias: (C',).
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor):
        super().__init__()
        nodes = torch.tensor(POINTS, dtype=torch.float64)
        others = torch.stack([torch.cat([p - nodes[:i], p - nodes[i + 1 :]]).prod() for i, p in enumerate(nodes)])
        infinity = torch.tensor([[0, 0, 1]], dtype=torch.float64)
        spread = torch.cat([nodes[:, None] ** torch.arange(3) / others[:, None], infinity])  # G: 3 weights -> 6 points
        last = F.pad(infinity.T, (0, 0, 1, 0))
        gather = torch.cat([nodes[None] ** torch.arange(4)[:, None], last], 1)  # A^T: 6 points -> 4 results
        ones = torch.linalg.pinv(gather).sum(1)  # values at the points that give 1 everywhere
        weight = torch.einsum("ai,bj,ocij->abco", spread, spread, weight.double())
        self.register_buffer("weight", weight.flatten(0, 1).float())  # (36, C, C')
        self.register_buffer("bias", (torch.outer(ones, ones).view(36, 1, 1) * bias.double()).float())

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """Views (N, H, W, C1), (N, H, W, C2), ... -> (N, H, W, C'); concatenated, their channels are those of the weights."""
        n, height, width, channels = views[0].shape
        rows, columns = -(-height // 4), -(-width // 4)  # tiles
        x = views[0].new_empty(6, 6, n, rows, columns, channels * len(views))
        half = views[0].new_empty(6, n, rows, 4 * columns + 2, channels)
        for i, view in enumerate(views):
            padded = F.pad(view, (0, 0, 1, 4 * columns - width + 1, 1, 4 * rows - height + 1))
            at_points([padded[:, j : j + 4 * rows - 3 : 4] for j in range(6)], half)
            part = x[..., i * channels : (i + 1) * channels].transpose(0, 1)
            at_points([half[:, :, :, j : j + 4 * columns - 3 : 4] for j in range(6)], part)
        y = torch.baddbmm(self.bias, x.view(36, -1, x.shape[-1]), self.weight).view(*x.shape[:-1], -1)
        half = y.new_empty(6, n, rows, 4 * columns, y.shape[-1])
        from_points(y.transpose(0, 1), [half[:, :, :, j::4] for j in range(4)])
        y = y.new_empty(n, 4 * rows, 4 * columns, y.shape[-1])
        from_points(half, [y[:, j::4] for j in range(4)])
        return F.relu(y[:, :height, :width])


def at_points(d: Sequence[Tensor], out: Tensor | Sequence[Tensor]) -> None:
    """Write B^T d to `out`: the values at the six points, from six neighbours."""
    for p, q, plus, minus in ((P, Q, 1, 2), (Q, P, 3, 4)):
        even, odd = torch.add(d[4], d[2], alpha=-q * q), torch.add(d[3], d[1], alpha=-q * q)
        torch.add(even, odd, alpha=p, out=out[plus])
        torch.add(even, odd, alpha=-p, out=out[minus])
    for i in (0, 1):  # the points 0 and infinity; P * Q is 1
        torch.add(torch.add(d[i], d[i + 4]), d[i + 2], alpha=-P * P - Q * Q, out=out[5 * i])


def from_points(m: Tensor, out: Sequence[Tensor]) -> None:
    """Write A^T m to `out`: four neighbouring results, from the values at the six points."""
    even_p, odd_p, even_q, odd_q = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    torch.add(even_p + m[0], even_q, out=out[0])
    torch.add(odd_p.mul_(P), odd_q, alpha=Q, out=out[1])
    torch.add(even_p.mul_(P**2), even_q, alpha=Q**2, out=out[2])
    torch.add(odd_p.mul_(P**2).add_(odd_q, alpha=Q**3), m[5], out=out[3])
