"""Renders a harder and larger set of clips: 10 classes, some with two motions, up to two distractors, a moving background.

    python experiments/hard_clips.py OUT

Writes OUT/train and OUT/val with one folder of 48x48 videos of 16 frames for each class. `experiments/hard.yaml` is the recipe.
"""

from __future__ import annotations

import sys

from smallbignet.data.synthetic import HARD, make_dataset
from smallbignet.utils.console import bar

CLIPS = {"train": 150, "val": 220}  # per class; with 2200 to validate, the standard error of an accuracy is a point

if __name__ == "__main__":
    with bar("render", sum(CLIPS.values()) * len(HARD.classes), "clips") as progress:
        make_dataset(
            sys.argv[1], CLIPS, num_frames=16, size=48, fps=8, scene=HARD, progress=lambda done, total: progress.advance()
        )
