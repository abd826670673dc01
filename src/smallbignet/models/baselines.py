"""The parts of the networks that the paper compares with, as a block spec names them. All keep the shape (N, C, T, H, W)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallbignet.models.pooling import Pool, pool_clip
from smallbignet.ops.conv import Conv3d


class TemporalShift(nn.Module):
    """Shift an eighth of the channels one frame back and an eighth one frame forward (TSM: J. Lin et al., ICCV 2019).

    Frames from outside the clip are zero.
    """

    def forward(self, x: Tensor) -> Tensor:
        fold = x.shape[1] // 8
        back, forward, still = x.split([fold, fold, x.shape[1] - 2 * fold], dim=1)
        back = F.pad(back[:, :, 1:], (0, 0, 0, 0, 0, 1))
        forward = F.pad(forward[:, :, :-1], (0, 0, 0, 0, 1, 0))
        return torch.cat([back, forward, still], dim=1)


class NonLocal(nn.Module):
    """`x + BN(W_o sum_k s_k W_g x_k)`, where s is the softmax of embedded dot products over all positions (Eq. 3).

    This is the embedded Gaussian form with half the channels inside and all keys and values (X. Wang et al., CVPR 2018). The
    scale of the BN starts at zero, as in that paper.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.theta, self.phi, self.g = (Conv3d(channels, channels // 2, 1) for _ in range(3))
        self.out = Conv3d(channels // 2, channels, 1)
        self.bn = nn.BatchNorm3d(channels)
        nn.init.zeros_(self.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (f(x).flatten(2).mT for f in (self.theta, self.phi, self.g))  # (N, T*H*W, C/2)
        y = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return x + self.bn(self.out(y.mT.unflatten(2, x.shape[2:])))


class SqueezeExcite(nn.Module):
    """`x + BN(x * sigmoid(conv2(relu(conv1(g)))))`, where g is the mean over T, H and W: Table 9's "simple" extra unit.

    `conv1` (C to C/4) is as narrow as in the default extra unit. The paper leaves the pooling open; the mean and the ReLU are
    those of J. Hu et al. (CVPR 2018). The scale of the BN starts at zero, so that the network starts as its 2-D parent.

    Args:
        pool: the pooling that makes g.
    """

    def __init__(self, channels: int, pool: Pool = "avg"):
        super().__init__()
        self.pool: Pool = pool
        self.conv1 = Conv3d(channels, channels // 4, 1, bias=False)
        self.conv2 = Conv3d(channels // 4, channels, 1, bias=False)
        self.bn = nn.BatchNorm3d(channels)
        nn.init.zeros_(self.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        x, squeezed = pool_clip(x, self.pool)  # (N, C, T, H, W), (N, C, 1, 1, 1)
        attention = self.conv2(F.relu(self.conv1(squeezed))).sigmoid()
        return x + self.bn(x * attention)
