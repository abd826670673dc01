"""Trains a network with blocks of your choice in a plain PyTorch loop, and saves it as a model that every command takes.

    python examples/own_loop.py runs/own
    smallbig predict runs/own clip.mp4

The clips are rendered here: shapes of one colour and shapes that change their colour. Replace `make_clips` by your own data. It
takes about a minute on one CPU core, and labels 84 of 100 new clips correctly.
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F

import smallbignet
from smallbignet.data.sampling import ClipSpec
from smallbignet.data.synthetic import CLASSES, render_clip
from smallbignet.data.transforms import InputSpec, to_input
from smallbignet.weights.directory import ModelConfig

NAMES = ["still", "colour"]
CLIP = ClipSpec("uniform", clip_len=8)
FRAMES = InputSpec(size=32, short_side=32)


def make_clips(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns clips, uint8 (N, T, H, W, 3), and their class indices, (N,)."""
    rng = np.random.default_rng(seed)
    labels = torch.arange(count) % len(NAMES)
    clips = [render_clip(CLASSES[NAMES[label]], rng, num_frames=CLIP.clip_len, size=FRAMES.size) for label in labels]
    return torch.from_numpy(np.stack(clips)), labels


def train(directory: str, clips: int = 240, epochs: int = 8, batch_size: int = 8) -> float:
    """Returns the share of new clips that the trained network labels correctly."""
    torch.manual_seed(0)
    network = {"name": "smallbig_r23", "num_classes": len(NAMES), "width": 16, "stages": ["typical", "typical", "full", "full"]}
    model = smallbignet.create_model(**network).to(memory_format=torch.channels_last_3d)  # the fastest layout
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    data, labels = make_clips(clips, seed=0)
    data = to_input(data, FRAMES)  # (N, 3, T, H, W), normalised
    for epoch in range(epochs):
        model.train()
        for rows in torch.randperm(clips).split(batch_size):
            loss = F.cross_entropy(model(data[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: loss of the last batch {loss.item():.3f}")

    config = ModelConfig(network, NAMES, CLIP, FRAMES, views="1x1", weights={"source": "examples/own_loop.py"})
    smallbignet.save_model(model.eval(), config, directory)
    data, labels = make_clips(100, seed=1)
    classifier = smallbignet.VideoClassifier(directory)
    return (classifier.scores(data).argmax(1) == labels).float().mean().item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", help="the model directory to write")
    print(f"{train(parser.parse_args().directory):.0%} of 100 new clips are labelled correctly")
