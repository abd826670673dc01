"""Trains on a folder with one folder of videos per class, tests on the held-out videos, and prints the accuracy of each class.

    python examples/train_folder.py my_videos runs/mine
    python examples/train_folder.py my_videos runs/mine --optim.epochs 60 --optim.lr 0.005

Further options are settings of the recipe `small`; `smallbig train --help` lists them.
"""

import argparse

import smallbignet


def train_folder(videos: str, run: str, settings: list[str]) -> float:
    config = smallbignet.load_recipe("small", ["--data.train", videos, "--run.dir", run, *settings])
    smallbignet.train(config)
    result = smallbignet.evaluate(run, f"{run}/val.csv")
    for row in result.per_class():
        if row["videos"]:
            print(f"{row['class']}: {row['accuracy']:.0%} of {row['videos']} videos")
    print(f"all: {result.accuracy():.0%} of {len(result.videos)} videos; guessing gives {1 / len(result.classes):.0%}")
    return result.accuracy()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", help="a folder with one folder of videos per class")
    parser.add_argument("run", help="the run directory to write")
    arguments, settings = parser.parse_known_args()
    train_folder(arguments.videos, arguments.run, settings)
