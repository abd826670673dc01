"""A small data set and a run trained on it, made once for all tests."""

from pathlib import Path

import pytest

from smallbignet.commands.train import train
from smallbignet.data.synthetic import make_dataset
from smallbignet.training.settings import TrainConfig, load_recipe

# SmallBig-R23 at an eighth of its width on 32x32 frames: a step takes tenths of a second
TINY = """
model: {name: smallbig_r23, width: 8, drop_rate: 0.5}
clip: {sampling: uniform, clip_len: 4}
input: {size: 32, train_short_side: [32, 40], short_side: 32}
optim: {epochs: 2, batch_size: 4, lr: 0.05}
run: {workers: 0, views: 2x3, device: cpu}
"""


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """A folder with train and val folders: 6 classes, 2 and 1 clips of each, 8 frames of 32x32."""
    return make_dataset(tmp_path_factory.mktemp("clips"), {"train": 2, "val": 1}, size=32, num_frames=8)


@pytest.fixture(scope="session")
def recipe(tmp_path_factory, clips) -> Path:
    """A recipe that trains on `clips` in seconds."""
    file = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    file.write_text(f"{TINY}data: {{train: '{clips}'}}\n")
    return file


@pytest.fixture
def tiny(recipe, tmp_path):
    """Makes the tiny recipe's settings, with overrides, for a run in this test's folder."""

    def settings(*overrides: str) -> TrainConfig:
        return load_recipe(str(recipe), ["--run.dir", str(tmp_path / "run"), *overrides])

    return settings


@pytest.fixture(scope="session")
def run(tmp_path_factory, recipe) -> Path:
    """A finished run directory."""
    directory = tmp_path_factory.mktemp("run") / "run"
    train(load_recipe(str(recipe), ["--run.dir", str(directory)]))
    return directory
