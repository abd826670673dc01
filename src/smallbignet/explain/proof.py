"""Two tests of whether a map of contributions means something: random weights, and removing the best places first.

A map that stays the same when the weights are random shows the clip, not what the network learned (J. Adebayo et al., "Sanity
Checks for Saliency Maps", 2018). If the best places matter, removing them makes the score fall faster than removing random ones
(V. Petsiuk et al., "RISE", 2018, the deletion metric).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from smallbignet.explain.contributions import contributions
from smallbignet.models.network import VideoNetwork
from smallbignet.models.zoo import build_model

RANDOM_NETWORKS = 5
RANDOM_ORDERS = 5
STEPS = 10  # of removing all places
CLIPS_AT_ONCE = 4  # in one forward pass


@dataclass(frozen=True)
class Deletion:
    """How a score falls while places of the clip are replaced by the mean colour.

    Attributes:
        removed: (STEPS + 1,) share of the places that are removed, from 0 to 1.
        best: (STEPS + 1,) score where those that contribute most are removed first.
        random: (RANDOM_ORDERS, STEPS + 1) scores where places are removed in random orders.
    """

    removed: np.ndarray
    best: np.ndarray
    random: np.ndarray

    @property
    def areas(self) -> tuple[float, float]:
        """The mean score over all steps: best places first, and random places first. Lower is faster."""
        return float(self.best.mean()), float(self.random.mean())


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's rank correlation of two maps of one shape, -1 to 1; 0 where one of them has a single value."""
    ranks = [_ranks(part.ravel()) for part in (one, other)]
    if min(rank.std() for rank in ranks) == 0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """The ranks of values; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return (last - (counts - 1) / 2)[inverse]


def similarity_to_random(
    arguments: dict[str, Any], clip: Tensor, map: np.ndarray, label: int, against: int | None = None
) -> list[float]:
    """Return the rank correlation of a map with those of networks of the same form with random weights.

    Args:
        arguments: those of `build_model` for the network.
        clip: the clip that the map is of, as for `contributions`.
    """
    found = []
    for seed in range(RANDOM_NETWORKS):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            network = build_model(**arguments).to(clip.device).eval()
        found.append(rank_correlation(map, contributions(network, clip, label, against).map))
    return found


def delete(
    network: VideoNetwork,
    clip: Tensor,
    map: np.ndarray,
    score: Callable[[Tensor], Tensor],
    advance: Callable[[], object] = lambda: None,
) -> Deletion:
    """Return how the score falls when places are removed, the best first and in random orders.

    A place is a square of a few frames of the clip, and is replaced by the mean colour of the network's input.

    Args:
        clip: normalised frames (1, 3, T, H, W), in which the mean colour is 0.
        map: (T', H', W') contributions.
        score: from logits (N, num_classes) to scores (N,).
        advance: called after each order of places.
    """
    removed = np.linspace(0, 1, STEPS + 1)
    generator = np.random.default_rng(0)
    orders = [np.argsort(-map.ravel(), kind="stable"), *(generator.permutation(map.size) for _ in range(RANDOM_ORDERS))]
    curves = []
    for order in orders:
        clips = [remove(clip, order[: round(share * map.size)], map.shape) for share in removed]
        chunks = torch.cat(clips).split(CLIPS_AT_ONCE)
        with torch.inference_mode():
            curves.append(torch.cat([score(network(chunk)) for chunk in chunks]).double().cpu().numpy())
        advance()
    return Deletion(removed, curves[0], np.stack(curves[1:]))


def remove(clip: Tensor, places: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    """Return a clip (1, 3, T, H, W) with places of a map of this shape set to 0; places are counted through the map."""
    kept = torch.ones(int(np.prod(shape)), device=clip.device)
    kept[torch.from_numpy(places.copy()).to(clip.device)] = 0
    return clip * F.interpolate(kept.reshape(1, 1, *shape), clip.shape[2:], mode="nearest")
