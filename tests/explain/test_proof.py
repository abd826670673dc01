"""The two tests of a map: what they say of a map that is known to be right, and of one that is known to be empty."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import make, make_clip

from smallbignet.explain.contributions import contributions
from smallbignet.explain.proof import RANDOM_NETWORKS, STEPS, delete, rank_correlation, remove, similarity_to_random


def test_rank_correlation():
    values = np.array([[3.0, 1.0], [2.0, 10.0]])
    assert rank_correlation(values, np.exp(values)) == pytest.approx(1)  # any rising function keeps the ranks
    assert rank_correlation(values, -values) == pytest.approx(-1)
    # ranks 1 2.5 2.5 4 and 1 2 3 4: covariance 4.5 / 4, variances 4.5 / 4 and 5 / 4
    assert rank_correlation(np.array([0, 5, 5, 9]), np.array([1, 2, 3, 4])) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    assert rank_correlation(np.ones(4), values.ravel()) == 0


def test_a_place_is_a_square_of_some_frames():
    clip = torch.ones(1, 3, 8, 6, 4)
    changed = remove(clip, np.array([0, 11]), (2, 3, 2))  # the first and the last of 2x3x2 places
    expected = torch.ones_like(clip)
    expected[:, :, :4, :2, :2] = 0
    expected[:, :, 4:, 4:, 2:] = 0
    assert torch.equal(changed, expected)
    assert clip.min() == 1  # what was given is as it was


def test_the_score_falls_faster_along_a_true_map():
    """A network that adds up the brightness of each place: the map of the brightness is right, its negative is wrong."""
    clip = torch.rand(1, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0)) ** 4

    def network(clips: torch.Tensor) -> torch.Tensor:
        return clips.mean((1, 2, 3, 4))[:, None]

    places = clip.mean(1, keepdim=True).unfold(3, 8, 8).unfold(4, 8, 8).mean((0, 1, 5, 6)).numpy()  # (4, 4, 4)
    calls = []
    right, wrong = (
        delete(network, clip, sign * places, lambda logits: logits[:, 0], lambda: calls.append(1)) for sign in (1, -1)
    )
    assert right.removed.tolist() == pytest.approx(np.linspace(0, 1, STEPS + 1))
    assert right.areas[0] < right.areas[1] < wrong.areas[0]
    assert (right.best <= right.random + 1e-6).all() and (wrong.best >= wrong.random - 1e-6).all()
    assert right.best[0] == pytest.approx(clip.mean().item()) and right.best[-1] == 0
    assert len(calls) == 2 * (1 + len(right.random))


@pytest.mark.parametrize("name", ["smallbig_r23", "nonlocal_r23"])
def test_similarity_to_random_weights(name):
    """Of a network with the first of the random weights, the map is the same; of others it is not."""
    torch.manual_seed(0)
    from smallbignet.models.zoo import build_model

    arguments = {"name": name, "num_classes": 5, "width": 8}
    clip = make_clip(4)
    own = build_model(**arguments).eval()
    found = similarity_to_random(arguments, clip, contributions(own, clip, 2).map, 2)
    assert len(found) == RANDOM_NETWORKS
    assert found[0] == pytest.approx(1)
    assert max(map(abs, found[1:])) < 0.95


def test_the_random_state_is_kept():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    network, clip = make("c2d_r23"), make_clip(2, 32)
    torch.set_rng_state(state)
    similarity_to_random({"name": "c2d_r23", "num_classes": 5, "width": 8}, clip, contributions(network, clip, 0).map, 0)
    assert torch.equal(torch.get_rng_state(), state)
