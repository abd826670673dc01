"""How large the things are that a stage works on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Sizes of a run.

    Attributes:
        device: "cuda", or "cpu" for a dry run.
        network: that is trained, and that classifies.
        clip: frames and size; None for each network's own.
        batch: clips of a training step.
        batches: clips of a forward pass in inference, the smaller one and the larger one.
        precisions: of inference; training steps have the first one.
        side: of the matrices that the machine's best rate is taken from.
        copied: bytes of the large copy.
        seconds: that each thing is timed for.
    """

    device: str
    network: str
    clip: tuple[int, int] | None
    batch: int
    batches: tuple[int, int]
    precisions: tuple[str, ...]
    side: int
    copied: int
    seconds: float

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda"


GPU = Scale("cuda", "smallbig_r50", None, 32, (1, 32), ("bf16", "fp16", "tf32", "fp32"), 8192, 2**31, 1.2)
DRY_RUN = Scale("cpu", "smallbig_r23", (1, 32), 2, (1, 2), ("fp32",), 64, 2**16, 0.01)
