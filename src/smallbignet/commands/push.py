"""`smallbig push`: a model directory to the Hugging Face hub, with a model card."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, ModelCardData

from smallbignet.data.sampling import ClipSpec
from smallbignet.errors import SmallBigError
from smallbignet.models.zoo import NETWORKS
from smallbignet.training.run_directory import RunDirectory
from smallbignet.training.settings import NetworkSpec
from smallbignet.weights.directory import CONFIG, WEIGHTS
from smallbignet.weights.hub import hub_errors
from smallbignet.weights.load import find_model, load_config, load_model

CARD = "README.md"


@dataclass(frozen=True)
class Pushed:
    """A model that is on the hub now."""

    repo: str
    url: str
    files: list[str]


def push(model: str, repo: str, *, private: bool = False, message: str = "", license: str = "", dataset: str = "") -> Pushed:
    """Uploads a model to the Hugging Face hub, with a generated model card; whoever may see it then loads it by its name.

    Args:
        model: a model directory, or a run directory, whose best model is taken.
        repo: org/name, made where it doesn't exist. Files there are replaced, the card included; its history keeps them.
        private: only for you and your organisation.
        message: of the commit.
        license: for the card, such as apache-2.0 or cc-by-nc-4.0; that of the data may bind you.
        dataset: for the card: what it was trained on, by its name on the hub.

    Raises:
        SmallBigError: no such model, one whose files don't fit, a repository that you may not write, or that is public.
        WorkError: the hub can't be reached, or the upload failed.
    """
    if repo.count("/") != 1:
        raise SmallBigError("a repository on the hub is named org/name", repo)
    directory = find_model(model)
    card = model_card(directory, repo, license, dataset)
    api = HfApi()
    with hub_errors(repo):
        url = api.create_repo(repo, private=private or None, exist_ok=True)
        exposed = private and not api.model_info(repo).private  # it was there before
    if exposed:
        raise SmallBigError("this repository is public: choose another name, or make it private on its page", repo)
    files: dict[str, Path | bytes] = {WEIGHTS: directory / WEIGHTS, CONFIG: directory / CONFIG, CARD: card.encode()}
    additions = [CommitOperationAdd(name, content) for name, content in files.items()]
    with hub_errors(repo):
        api.create_commit(repo, additions, commit_message=message or "smallbig push")
    return Pushed(repo, str(url), list(files))


def show(result: Pushed) -> str:
    """One line."""
    return f"{result.url}: {', '.join(result.files)}"


def model_card(directory: str | Path, repo: str, license: str = "", dataset: str = "") -> str:
    """The README.md that presents a model on the hub: Markdown behind front matter.

    Args:
        directory: a model or run directory, as of `push`; a finished run's figures are told.
        repo: org/name that it will have there.
        license: the hub's name of a licence.
        dataset: the hub's name of a data set.

    Raises:
        SmallBigError: no such model, or one whose files don't fit.
    """
    directory = find_model(directory).resolve()
    config, params = load_config(directory), sum(p.numel() for p in load_model(directory).parameters())
    name = config.network["name"]
    matter = ModelCardData(
        library_name="smallbignet",
        pipeline_tag="video-classification",
        tags=["video-classification", "action-recognition", name],
        license=license or None,
        datasets=[dataset] if dataset else None,
    )
    frames = config.input
    rows = {
        "network": f"`{name}`, {params / 1e6:.2f} M parameters",
        "blocks of res2, res3, res4, res5": ", ".join(map(str, config.network.get("stages") or NETWORKS[name][1])),
        "clip": _clip(config.clip),
        "frames": f"{frames.size}x{frames.size} pixels (shorter side {frames.short_side} in tests), RGB, "
        f"mean {list(frames.mean)}, std {list(frames.std)}",
        "views of a test": f"{config.views} (clips x crops)",
        "weights": ", ".join(f"{key}: {value}" for key, value in config.weights.items()) or "unknown",
    }
    table = "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])
    parts = [
        f"---\n{matter.to_yaml()}\n---",
        f"# {repo.split('/')[-1]}",
        f"A video classifier of {len(config.classes)} classes.",
    ]
    parts += [
        table,
        *_figures(RunDirectory(directory.parent), directory.name, len(config.classes)),
        _usage(repo, config.network),
        _classes(config.classes),
    ]
    return "\n\n".join(parts) + "\n"


def _clip(clip: ClipSpec) -> str:
    if clip.sampling == "dense":
        return f"dense, {clip.clip_len} frames, {clip.frame_interval} apart"
    return f"uniform, a frame from each of {clip.clip_len} equal segments of the video"


def _figures(run: RunDirectory, kept: str, num_classes: int) -> list[str]:
    """The figures of a finished run's "best" or "last" model; nothing if `run` is not the directory of a finished run."""
    if kept not in ("best", "last") or not (run.is_started and run.is_finished):
        return []
    report = run.report()
    if kept == "best":
        text = f"On the validation videos, by which this epoch was chosen out of {report.epochs}:"
        figures = [f"{100 * report.best_top1:.2f}", "", run.config().run.val_views, report.val_videos]
    else:
        text = f"On the validation videos, after {report.epochs} epochs:"
        top5 = f"{100 * report.test.top5:.2f}" if num_classes > 5 else ""
        figures = [f"{100 * report.test.top1:.2f}", top5, report.test.views, report.test.videos]
    return [f"{text}\n\n| top-1 % | top-5 % | views | videos |\n|---|---|---|---|\n| {' | '.join(map(str, figures))} |"]


def _usage(repo: str, network: dict[str, Any]) -> str:
    default = NetworkSpec()
    changed = {
        key: network[key] for key in ("name", "stages", "width") if network.get(key) not in (None, getattr(default, key))
    }
    same = " ".join(f"--model.{key} {shlex.quote(v if isinstance(v, str) else json.dumps(v))}" for key, v in changed.items())
    return f"""With `smallbignet` installed:

```console
$ smallbig predict {repo} clip.mp4
$ smallbig evaluate {repo} my_videos
$ smallbig train finetune {same} --model.weights {repo} --data.train my_videos
```

```python
import smallbignet

smallbignet.VideoClassifier("{repo}").predict("clip.mp4", top=5)
model = smallbignet.load_model("{repo}")
```"""


def _classes(names: list[str], most: int = 20) -> str:
    lines = "\n".join(f"{index}. {name}" for index, name in enumerate(names))
    return f"Classes:\n\n{lines}" if len(names) <= most else f"<details><summary>Classes</summary>\n\n{lines}\n\n</details>"
