"""Labels every video in a folder and writes a CSV file with one row per video.

    python examples/predict_folder.py runs/mine holidays labels.csv
    python examples/predict_folder.py slow_r50 holidays labels.csv --pattern '*.mov'

A video that cannot be read gets a row with the reason, and the script continues.
"""

import argparse
import csv
from pathlib import Path

import smallbignet


def predict_folder(model: str, folder: str, out: str, pattern: str = "*.mp4") -> None:
    classifier = smallbignet.VideoClassifier(model)
    with open(out, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "score", "error"])
        for path in sorted(Path(folder).rglob(pattern)):
            try:
                best = classifier.predict(path, top=1)[0]
            except smallbignet.VideoError as error:
                rows.writerow([path, "", "", error.what])
            else:
                rows.writerow([path, best.label, f"{best.score:.4f}", ""])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a run directory, a model directory or the name of a published network")
    parser.add_argument("folder", help="the folder to search for videos, with all folders in it")
    parser.add_argument("out", help="the CSV file to write")
    parser.add_argument("--pattern", default="*.mp4", help="which files are videos")
    arguments = parser.parse_args()
    predict_folder(arguments.model, arguments.folder, arguments.out, arguments.pattern)
