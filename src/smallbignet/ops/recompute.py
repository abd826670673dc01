"""Tensors that a pass over memory computes again, from others that the backward pass keeps anyway, aren't kept themselves.

Those are pooled features and the results of normalisations: with them gone, a training step holds about the outputs of its
convolutions and one tensor a block. The second time gives the same bits as the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor


def recompute() -> AbstractContextManager:
    """A context for a forward pass whose backward pass computes again what `can_recompute` has marked."""
    return torch.autograd.graph.saved_tensors_hooks(_pack, _unpack)


def kept_for(x: Tensor) -> Iterator[Tensor]:
    """What `recompute` keeps in order to have `x`: itself, or the tensors that it is made from."""
    recipe = getattr(x, "recipe", None)
    if recipe is None:
        yield x
    else:
        for needed in recipe.inputs:
            if isinstance(needed, Tensor):
                yield from kept_for(needed)


def can_recompute(y: Tensor, function: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """Marks `y` as `function(*inputs)`, which doesn't take long, and returns it."""
    y.recipe = _Recipe(function, inputs)  # type: ignore[attr-defined]
    return y


class _Recipe:
    """How to make a tensor again. It is made once for all that ask for it, and forgotten with the last of them."""

    def __init__(self, function: Callable[..., Tensor], inputs: tuple[Any, ...]):
        self.function, self.inputs = function, inputs
        self.asking = 0
        self.made: Tensor | None = None

    def keep(self) -> _Recipe:
        if not self.asking:
            self.inputs = tuple(_pack(x) if isinstance(x, Tensor) else x for x in self.inputs)
        self.asking += 1
        return self

    def make(self) -> Tensor:
        made = self.made
        if made is None:
            with torch.no_grad():
                made = self.function(*(_unpack(x) for x in self.inputs))
        self.asking -= 1
        self.made = made if self.asking > 0 else None
        return made


def _pack(x: Tensor) -> Any:
    recipe = getattr(x, "recipe", None)
    return x if recipe is None else recipe.keep()


def _unpack(kept: Any) -> Any:
    return kept.make() if isinstance(kept, _Recipe) else kept
