"""`smallbig push`: uploads a model directory to the Hugging Face hub, with a model card."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, ModelCardData

from smallbignet.errors import SmallBigError
from smallbignet.models.zoo import own_stages
from smallbignet.training.run_directory import RunDirectory
from smallbignet.training.settings import NetworkSpec
from smallbignet.weights.directory import CONFIG, WEIGHTS
from smallbignet.weights.hub import hub_errors
from smallbignet.weights.load import find_model, load_config, load_model

CARD = "README.md"
TEMPLATE = Path(__file__).with_name("model_card.md")


@dataclass(frozen=True)
class Pushed:
    """A model that is on the hub now.

    Attributes:
        repo: org/name.
        url: its page.
        files: the names of the files that were uploaded.
    """

    repo: str
    url: str
    files: list[str]


def push(model: str, repo: str, *, private: bool = False, message: str = "", license: str = "", dataset: str = "") -> Pushed:
    """Uploads a model to the Hugging Face hub, with a generated model card. Whoever may see it then loads it by its name.

    Args:
        model: a model directory, or a run directory, whose best model is taken.
        repo: org/name; made if it does not exist. Files that are there are replaced, the card too; the history keeps them.
        private: only you and your organisation may see it.
        message: commit message.
        license: licence for the card, such as apache-2.0 or cc-by-nc-4.0; the data's licence may bind you. By default that of
            a published checkpoint, and none for other models.
        dataset: the data set that the model was trained on, by its name on the hub, for the card.

    Raises:
        SmallBigError: there is no such model, its files do not fit, or the repository is public or not yours to write.
        WorkError: the hub can't be reached, or the upload failed.
    """
    if repo.count("/") != 1:
        raise SmallBigError("a repository on the hub is named org/name", repo)
    directory = find_model(model)
    card = model_card(directory, repo, license, dataset)
    api = HfApi()
    with hub_errors(repo):
        url = api.create_repo(repo, private=private or None, exist_ok=True)
        is_exposed = private and not api.model_info(repo).private  # it was there before
    if is_exposed:
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
    """Returns the README.md that presents a model on the hub: `model_card.md` with the model's facts.

    Args:
        directory: a model or run directory. If it belongs to a finished run, the card has the run's figures.
        repo: org/name that it will have there.
        license: the hub's name of a licence.
        dataset: the hub's name of a data set.

    Raises:
        SmallBigError: there is no such model, or its files do not fit.
    """
    directory = find_model(directory).resolve()
    config = load_config(directory)
    name = config.network["name"]
    matter = ModelCardData(
        library_name="smallbignet",
        pipeline_tag="video-classification",
        tags=["video-classification", "action-recognition", name],
        license=license or str(config.weights.get("licence") or "").lower() or None,
        datasets=[dataset] if dataset else None,
    )
    card = ModelCard.from_template(
        matter,
        template_path=str(TEMPLATE),
        title=repo.split("/")[-1],
        repo=repo,
        config=config,
        params=sum(p.numel() for p in load_model(directory).parameters()),
        blocks=[_block_names(stage) for stage in config.network.get("stages") or own_stages(name)],
        model_options=_model_options(config.network),
        figures=_figures(directory, len(config.classes)),
    )
    return str(card)


def _block_names(stage: Any) -> str:
    return stage if isinstance(stage, str) else f"[{', '.join(map(str, stage))}]"


def _model_options(network: dict[str, Any]) -> str:
    """Returns the options of `smallbig train` that make the same network."""
    default = NetworkSpec()
    keys = [key for key in ("name", "stages", "width") if network.get(key) not in (None, getattr(default, key))]
    values = {key: network[key] if isinstance(network[key], str) else json.dumps(network[key]) for key in keys}
    return " ".join(f"--model.{key} {shlex.quote(value)}" for key, value in values.items())


def _figures(directory: Path, num_classes: int) -> dict[str, Any] | None:
    """Returns what a finished run measured of its best or last model; None for a model directory that is neither."""
    run = RunDirectory(directory.parent)
    if directory not in (run.best, run.last) or not (run.is_started and run.is_finished):
        return None
    report = run.report()
    if directory == run.best:
        when = f"by which this epoch was chosen out of {report.epochs}"
        return {
            "when": when,
            "top1": report.best_top1,
            "top5": None,
            "views": run.config().run.val_views,
            "videos": report.val_videos,
        }
    test = report.test
    return {
        "when": f"after {report.epochs} epochs",
        "top1": test.top1,
        "top5": test.top5 if num_classes > 5 else None,
        "views": test.views,
        "videos": test.videos,
    }
