"""Fast versions of slow PyTorch operations, called as ordinary functions: the same values and the same gradients.

Within `with ops.plain():` PyTorch's own are used. A file whose name ends in `_triton` holds the GPU kernels of the file without
that ending. Nothing here knows about networks.
"""

from smallbignet.ops.choice import plain

__all__ = ["plain"]
