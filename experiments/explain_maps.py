"""How exact the maps of `smallbig explain` are, and whether removing their best places lowers the score faster than chance.

    python experiments/explain_maps.py [MODEL DATA [--videos 60]]

Prints two Markdown tables. The first has all named networks and some of timm's, at an eighth of their width and with random
weights: the largest distance of a map's sum from the network's logit over all classes, relative as `Contributions.error` says.
The second, for a trained model and labelled videos: the mean score while places are removed, the best first and in random
orders, with a sign test over the videos; and the rank correlation of the maps with those of networks with random weights.
"""

from __future__ import annotations

import argparse
from math import comb

import numpy as np
import torch

from smallbignet import create_model, load_config, load_model
from smallbignet.data.source import read_part
from smallbignet.data.transforms import to_input
from smallbignet.explain.clip import read_clip
from smallbignet.explain.contributions import contributions
from smallbignet.explain.explanation import Score
from smallbignet.explain.proof import delete, similarity_to_random
from smallbignet.models.network import VideoNetwork
from smallbignet.models.zoo import SLOWFAST, list_models
from smallbignet.utils.console import bar

CLASSES = 400
CLIPS = 3  # of noise, 8x224; four times as many frames for SlowFast, whose slow pathway sees 8 of them
TIMM = ["timm/resnet18", "timm/tf_efficientnet_lite0", "timm/mobilenetv3_small_100", "timm/repvgg_a0"]


def make_network(name: str) -> VideoNetwork:
    """A network with random weights, in which big views, extra units and attention have an effect."""
    torch.manual_seed(0)
    network = create_model(name, CLASSES).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d) and not module.weight.any():
            torch.nn.init.uniform_(module.weight, 0.1, 0.3)
    torch.nn.init.normal_(network.fc.weight, std=0.3)
    torch.nn.init.normal_(network.fc.bias)
    return network


def measure_errors(name: str) -> list[str]:
    """The size of a network's maps, and the largest relative distances of their sums from its logits."""
    network = make_network(name)
    of_best, of_any, errors = [], [], []
    for seed in range(CLIPS):
        frames = 8 * SLOWFAST.get(name, {}).get("alpha", 1)
        clip = torch.randn(1, 3, frames, 224, 224, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            features = network.forward_features(clip)
            logits = network.forward_head(features)[0].double().numpy()
        network.forward_features = lambda _, features=features: features  # computed once for all classes
        found = [contributions(network, clip, label) for label in range(CLASSES)]
        del network.forward_features
        distances = np.abs([part.total for part in found] - logits) / np.abs(logits)
        of_best.append(distances[logits.argmax()])
        of_any.append(distances.max())
        errors.append(max(part.error for part in found))
    size = "x".join(map(str, found[0].size))
    return [f"`{name}`", f"{frames}x224", size, *(f"{max(figures):.0e}" for figures in (of_best, of_any, errors))]


def print_errors() -> None:
    print("| network | clip | map | best class, to its logit | any class, to its logit | any class, as the command says |")
    print("|---|---|---|---|---|---|")
    for name in [*list_models(), *TIMM]:
        print(f"| {' | '.join(measure_errors(name))} |", flush=True)


def print_deletion(model: str, data: str, count: int) -> None:
    network, config = load_model(model), load_config(model)
    annotations = read_part(data, "val", classes=config.classes)
    chosen = np.random.default_rng(0).permutation(len(annotations))[:count]
    areas = []
    similarities = []
    with bar("explain", len(chosen), "videos") as progress:
        for index in chosen:
            clip = to_input(read_clip(str(annotations.paths[index]), config).pixels[None], config.input)
            with torch.inference_mode():
                label = int(network(clip).argmax())
            found = contributions(network, clip, label)
            areas.append(delete(network, clip, found.map, Score(label, None, config.scores)).areas)
            similarities += similarity_to_random(config.network, clip, found.map, label)
            progress.advance()
    best, random = np.array(areas).T
    faster = int((best < random).sum())
    chance = sum(comb(len(best), k) for k in range(faster, len(best) + 1)) / 2 ** len(best)
    print("\n| videos | best places first | random places first | faster than random | p (sign test) |\n|---|---|---|---|---|")
    print(f"| {len(best)} | {best.mean():.3f} | {random.mean():.3f} | {faster} of {len(best)} | {chance:.1g} |")
    print(f"\nRank correlation with random weights: mean {np.mean(similarities):+.2f}, deviation {np.std(similarities):.2f}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="a trained model")
    parser.add_argument("data", nargs="?", help="labelled videos, as for `smallbig evaluate`")
    parser.add_argument("--videos", type=int, default=60, help="how many, drawn at random")
    options = parser.parse_args()
    print_errors()
    if options.model:
        print_deletion(options.model, options.data, options.videos)


if __name__ == "__main__":
    main()
