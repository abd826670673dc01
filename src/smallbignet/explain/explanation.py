"""All that is found out about one clip's answer, and its numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smallbignet.data.transforms import to_input
from smallbignet.errors import SmallBigError, did_you_mean
from smallbignet.explain.big_views import BigView, Place, big_views, same_place
from smallbignet.explain.clip import SampledClip
from smallbignet.explain.contributions import Contributions, contributions
from smallbignet.explain.feature_maps import STAGE, channel_means, first_views
from smallbignet.explain.proof import RANDOM_ORDERS, Deletion, delete, similarity_to_random
from smallbignet.models.network import VideoNetwork
from smallbignet.weights.directory import ModelConfig, ScoreSpec

PARTS = 4 + RANDOM_ORDERS  # of the work: contributions, maps, random weights, and an order of removing places each


@dataclass(frozen=True)
class Model:
    """A network with its configuration, and what it is called in pictures."""

    name: str
    network: VideoNetwork
    config: ModelConfig

    def input(self, clip: SampledClip) -> Tensor:
        """The clip as this network takes it, (1, 3, T, S, S), on the network's device."""
        device = next(self.network.parameters()).device
        return to_input(clip.pixels[None].to(device), self.config.input)


@dataclass(frozen=True)
class Explanation:
    """Why a network gave a clip its answer.

    Attributes:
        clip: the frames that the network was shown.
        classes: the names of the classes.
        scores: (num_classes,) the clip's scores, at the model's temperature.
        label, against: the class that is explained, and the one that it is compared with.
        contributions: what each place contributes to the logit, or to the difference of the two.
        place: frame, row and column in the map of contributions whose big views are shown.
        views: the last big view of each kind.
        feature_maps: rows of Fig. 3 by the groups that share a scale.
        similarity: rank correlations of the map with those of networks with random weights.
        deletion: how the score falls when places are removed.
    """

    clip: SampledClip
    classes: list[str]
    scores: np.ndarray
    label: int
    against: int | None
    contributions: Contributions
    place: Place
    views: list[BigView]
    feature_maps: dict[str, dict[str, np.ndarray]]
    similarity: list[float]
    deletion: Deletion

    @property
    def what(self) -> str:
        """What is explained, in words."""
        label = self.classes[self.label]
        return label if self.against is None else f"{label} and not {self.classes[self.against]}"

    def place_in(self, view: BigView) -> Place:
        """The place in the map of a big view."""
        return same_place(self.place, self.contributions.size, view.size)

    def report(self) -> dict[str, Any]:
        """The numbers as plain data."""
        found = self.contributions
        best, random = self.deletion.areas
        return {
            "video": self.clip.path,
            "label": self.classes[self.label],
            "against": None if self.against is None else self.classes[self.against],
            "score": float(self.scores[self.label]),
            "logit": found.logit,
            "bias": found.bias,
            "sum_of_map": float(found.map.sum()),
            "relative_error": found.error,
            "pathways": {name: float(part.sum()) for name, part in found.parts.items()},
            "map_size": list(found.size),
            "frames": self.clip.frames.tolist(),
            "times": self.clip.times.tolist(),
            "place": list(self.place),
            "big_views": [self._report_view(view) for view in self.views],
            "similarity_to_random_weights": self.similarity,
            "deletion_mean_score": {"best_first": best, "random_first": random},
        }

    def _report_view(self, view: BigView) -> dict[str, Any]:
        place = self.place_in(view)
        return {
            "layer": view.name,
            "kind": view.kind,
            "window": list(view.window),
            "map_size": list(view.size),
            "place": list(place),
            "share_by_frame": view.by_frame(place).tolist(),
            "key_frames": view.key_frames(place),
            "channels_left_out": view.left_out(place),
        }


def explain(
    model: Model,
    clip: SampledClip,
    label: str = "",
    against: str = "",
    beside: Model | None = None,
    at: Place | None = None,
    advance: Callable[[], object] = lambda: None,
) -> Explanation:
    """Find out why a network gave a clip its answer.

    Args:
        label: class to explain; the one with the best score if it is empty.
        against: class that `label` is compared with, if any.
        beside: another network, whose feature maps are drawn below those of the first.
        at: frame, row and column in the map of contributions; the place that contributes most if not given.
        advance: called after each part of the work, `PARTS` times in all.

    Raises:
        SmallBigError: no such class, the same class twice, or a place outside of the map.
        WorkError: the network returns values that are not numbers.
    """
    network, classes = model.network, model.config.classes
    images = model.input(clip)
    with torch.inference_mode():
        logits = network(images)
    scores = to_scores(logits, model.config.scores)[0].float().cpu().numpy()
    chosen = find_class(label, classes, "--label") if label else int(scores.argmax())
    other = find_class(against, classes, "--against") if against else None
    if chosen == other:
        raise SmallBigError("a class can't be compared with itself: choose another --against or --label", against)
    found = contributions(network, images, chosen, other)
    place = at or _best_place(found.map)
    if any(index >= extent for index, extent in zip(place, found.size, strict=True)):
        extents = "x".join(map(str, found.size))
        raise SmallBigError(f"the map has {extents} frames, rows and columns, counted from 0", f"--at {_comma(place)}")
    advance()
    views = big_views(network, images)
    maps = collect_maps(model, clip, beside)
    advance()
    similarity = similarity_to_random(model.config.network, images, found.map, chosen, other)
    advance()
    score = Score(chosen, other, model.config.scores)
    deletion = delete(network, images, found.map, score, advance)
    return Explanation(clip, classes, scores, chosen, other, found, place, views, maps, similarity, deletion)


def to_scores(logits: Tensor, spec: ScoreSpec) -> Tensor:
    """Return the scores of single views as `VideoClassifier` makes them: (N, num_classes) -> the same shape, 0 to 1."""
    tempered = logits / spec.temperature
    return tempered.sigmoid() if spec.kind == "sigmoid" else tempered.softmax(1)


@dataclass(frozen=True)
class Score:
    """The score of a class among all, or among two."""

    label: int
    against: int | None
    spec: ScoreSpec

    def __call__(self, logits: Tensor) -> Tensor:
        """(N, num_classes) logits -> (N,) scores, 0 to 1."""
        if self.against is None:
            return to_scores(logits, self.spec)[:, self.label]
        return ((logits[:, self.label] - logits[:, self.against]) / self.spec.temperature).sigmoid()


def find_class(name: str, classes: list[str], option: str) -> int:
    """Return the index of a class.

    Raises:
        SmallBigError: there is no such class.
    """
    if name not in classes:
        known = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
        raise SmallBigError(f"no such class; {did_you_mean(name, classes)}the classes are {known}", f"{option} {name}")
    return classes.index(name)


def collect_maps(model: Model, clip: SampledClip, beside: Model | None) -> dict[str, dict[str, np.ndarray]]:
    """Return the rows of Fig. 3: a stage's feature of one or two networks, and the first layer's two views."""
    models = [model, beside] if beside else [model]
    groups = {STAGE: {part.name: channel_means(part.network, part.input(clip)) for part in models}}
    if found := first_views(model.network, model.input(clip)):
        layer, small, big = found  # each with a scale of its own, because each has a normalisation of its own
        groups |= {"small view": {f"small view\n{layer}": small}, "big view": {f"big view\n{layer}": big}}
    return groups


def _best_place(map: np.ndarray) -> Place:
    t, h, w = np.unravel_index(int(map.argmax()), map.shape)
    return int(t), int(h), int(w)


def _comma(place: Place) -> str:
    return ",".join(map(str, place))
