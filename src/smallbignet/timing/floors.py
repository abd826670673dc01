"""The floor of a machine: the least time that a clip could take on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallbignet.models.complexity import complexity
from smallbignet.timing.cases import Case, build_network
from smallbignet.timing.timed import Timed


@dataclass(frozen=True)
class Floor:
    """The least time that a clip of a network could take.

    That is the time of its multiply-accumulates at the rate of the best convolution, or the time that its convolutions' inputs
    and outputs take through memory at the rate of a large copy, whichever is longer.

    Attributes:
        macs: multiply-accumulates. Training takes three times those of inference: the gradients of inputs and of weights each
            take as many again.
        elements: that convolutions read or write.
    """

    macs: int
    elements: int

    @classmethod
    def of(cls, case: Case) -> Floor:
        """Count those of a case."""
        passes = 3 if case.train else 1
        macs = complexity(lambda: build_network(case.model), *case.clip).macs
        return cls(passes * macs, passes * convolution_elements(case.model, case.clip))

    def seconds(self, rates: dict[str, float], half: bool) -> float:
        """Return the seconds of a clip.

        Args:
            rates: seconds of a multiply-accumulate or of a byte, by the names of `cases.FLOORS`.
            half: whether it is computed in bfloat16.
        """
        compute = self.macs * rates["best convolution bf16" if half else "best convolution"]
        return max(compute, self.elements * (2 if half else 4) * rates["copy"])


def convolution_elements(model: str, clip: tuple[int, int]) -> int:
    """Count the elements of the inputs and outputs of a network's convolutions, for one clip."""
    elements = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal elements
        elements += inputs[0].numel() + output.numel()

    with torch.device("meta"), torch.no_grad():
        network = build_network(model).eval()
        for module in network.modules():
            if isinstance(module, nn.Conv3d):
                module.register_forward_hook(count)
        network(torch.empty(1, 3, clip[0], clip[1], clip[1]))
    return elements


class BestConvolution(Timed):
    """The convolution that this machine computes best: no network of convolutions multiplies faster."""

    def __init__(self, case: Case):
        super().__init__(case)
        dtype = torch.bfloat16 if self.case.variant.endswith("bf16") else torch.float32
        clips = 512 if self.on_gpu else 8  # so many that the start of a call takes no time in comparison
        self.pairs: list[tuple[Tensor, Tensor]] = []  # input and weight
        for channels, kernel, size in ((256, 3, 28), (512, 3, 14), (512, 3, 7), (1024, 1, 14)):
            shapes = (clips, channels, size, size), (channels, channels, kernel, kernel)
            x, weight = (
                torch.randn(shape, device=case.device).to(dtype, memory_format=torch.channels_last) for shape in shapes
            )
            self.pairs.append((x, weight))

    @torch.no_grad()
    def seconds(self) -> list[float]:
        """Return the seconds of a multiply-accumulate in the best of the convolutions."""
        times: list[float] = []
        for x, weight in self.pairs:
            macs = weight.numel() * x.numel() // x.shape[1]
            calls = self.time_calls(partial(F.conv2d, x, weight, padding=weight.shape[-1] // 2))
            times += [seconds / macs for seconds in calls]
        return [min(times)]


class Copy(Timed):
    """A large copy: nothing moves faster through the memory of this machine."""

    def __init__(self, case: Case):
        super().__init__(case)
        self.source = torch.zeros(2**28, dtype=torch.uint8, device=case.device)
        self.target = torch.zeros_like(self.source)

    def seconds(self) -> list[float]:
        """Return the seconds of a byte read or written."""
        return [min(self.time_calls(lambda: self.target.copy_(self.source))) / (2 * len(self.source))]
