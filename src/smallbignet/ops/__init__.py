"""Slow operations made fast behind plain functions: the same values and the same gradients as PyTorch's own.

Within `with ops.plain():` they are PyTorch's own. A file whose name ends in `_triton` holds the GPU kernels of the file without
that ending. Nothing here knows about networks.
"""

from smallbignet.ops.choice import plain

__all__ = ["plain"]
