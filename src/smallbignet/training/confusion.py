"""Which classes a model takes for which others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Confused:
    """Two classes, of which one is taken for the other.

    Attributes:
        label: the class of the videos.
        prediction: the class that the model takes some of them for.
        videos: how many of them.
        of: number of videos of the class.
    """

    label: str
    prediction: str
    videos: int
    of: int

    def __str__(self) -> str:
        return f'"{self.label}" taken for "{self.prediction}" ({self.videos} of {self.of})'


def most_confused(matrix: np.ndarray, classes: Sequence[str], count: int = 3) -> list[Confused]:
    """The pairs of classes with the most wrong predictions, the worst first; fewer where fewer classes are confused.

    Args:
        matrix: (num_classes, num_classes) number of videos, one row for each label and one column for each prediction.
    """
    wrong = matrix * (1 - np.eye(len(classes), dtype=matrix.dtype))
    worst = np.argsort(-wrong, axis=None, kind="stable")[:count]
    places = [divmod(int(place), len(classes)) for place in worst]
    return [
        Confused(classes[label], classes[prediction], int(wrong[label, prediction]), int(matrix[label].sum()))
        for label, prediction in places
        if wrong[label, prediction]
    ]
