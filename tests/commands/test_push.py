"""`smallbig push`: up to a hub that is a folder, down again, and the card. No test goes online."""

import shlex
import shutil
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
import yaml

from smallbignet import SmallBigError, cli, create_model, load_config, load_model, save_model
from smallbignet.arguments import parse_call
from smallbignet.commands.push import model_card, push, show
from smallbignet.weights.directory import ModelConfig


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The hub as a folder of repositories; `made` keeps whether one is private."""
    folder, made = tmp_path / "hub", {}

    def create_repo(api, repo, private=None, exist_ok=False):
        made.setdefault(repo, bool(private))
        return f"https://hub.test/{repo}"

    def create_commit(api, repo, operations, commit_message):
        (folder / repo).mkdir(parents=True, exist_ok=True)
        for operation in operations:
            with operation.as_file() as content:
                (folder / repo / operation.path_in_repo).write_bytes(content.read())
        (folder / repo / "message").write_text(commit_message)

    def snapshot_download(repo, allow_patterns):
        copy = tmp_path / "cache" / repo
        shutil.copytree(folder / repo, copy, dirs_exist_ok=True, ignore=lambda _, names: set(names) - set(allow_patterns))
        return str(copy)

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", create_commit)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda api, repo: SimpleNamespace(private=made[repo]))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return SimpleNamespace(folder=folder, made=made)


@pytest.mark.parametrize("private", [False, True])
def test_what_was_pushed_loads_by_its_name(hub, run, private):
    pushed = push(str(run), "someone/clips", private=private, message="first")
    assert hub.made == {"someone/clips": private}
    assert sorted(path.name for path in (hub.folder / "someone/clips").iterdir()) == sorted([*pushed.files, "message"])
    assert (hub.folder / "someone/clips/message").read_text() == "first"
    assert show(pushed).startswith("https://hub.test/someone/clips: ")
    there, here = load_model("someone/clips").state_dict(), load_model(run).state_dict()
    assert there.keys() == here.keys() and all(torch.equal(there[key], here[key]) for key in here)
    assert load_config("someone/clips") == load_config(run)


def test_nothing_private_goes_into_a_public_repository(hub, run):
    push(str(run), "someone/clips")
    shutil.rmtree(hub.folder)
    with pytest.raises(SmallBigError, match=r"this repository is public.*\(someone/clips\)"):
        push(str(run), "someone/clips", private=True)
    assert not hub.folder.exists()


def test_a_model_whose_files_do_not_fit_is_not_pushed(hub, run, tmp_path):
    broken = Path(shutil.copytree(run / "best", tmp_path / "broken"))
    config = ModelConfig({"name": "c2d_r23", "num_classes": 2}, ["a", "b"])
    (broken / "config.json").write_text(config.to_json())
    with pytest.raises(SmallBigError, match="don't fit"):
        push(str(broken), "someone/clips")
    with pytest.raises(SmallBigError, match="named org/name"):
        push(str(run), "clips")
    assert not hub.made


def front_matter(card):
    return yaml.safe_load(card.split("---\n")[1])


def test_the_card_of_a_run(run):
    card = model_card(run, "someone/clips", license="cc-by-4.0", dataset="someone/videos")
    matter = front_matter(card)
    assert matter["library_name"] == "smallbignet" and matter["pipeline_tag"] == "video-classification"
    assert matter["license"] == "cc-by-4.0" and matter["datasets"] == ["someone/videos"]
    report = yaml.safe_load((run / "report.json").read_text())
    assert f"| {100 * report['best_top1']:.2f} |  | 1x1 | {report['val_videos']} |" in card
    test = report["test"]
    last = model_card(run / "last", "someone/clips")
    assert f"| {100 * test['top1']:.2f} | {100 * test['top5']:.2f} | {test['views']} | {test['videos']} |" in last
    for fact in ("`smallbig_r23`", "2d, full, full, full", "from each of 4 equal segments", "32x32 pixels", "2x3", "0. "):
        assert fact in card
    assert "smallbig predict someone/clips clip.mp4" in card and "<details>" not in card
    assert card.endswith("\n\n0. colour\n1. growing\n2. horizontal\n3. still\n4. turning\n5. vertical\n")


def test_the_card_of_a_model_from_elsewhere(tmp_path):
    """Many classes are folded; figures and licence are nowhere made up."""
    classes = [f"class {i}" for i in range(30)]
    network = {"name": "c2d_r23", "num_classes": 30, "stages": ["2d", "full+unshared", ["full", "2d"], "full"], "width": 8}
    config = ModelConfig(network, classes, weights={"source": "tsm", "file": "x.pth"})
    save_model(create_model(**network), config, tmp_path / "model")
    card = model_card(tmp_path / "model", "someone/clips")
    assert "license" not in front_matter(card) and "top-1" not in card
    assert "| 2d, full+unshared, [full, 2d], full |" in card and "source: tsm, file: x.pth" in card
    assert "dense, 8 frames, 8 apart" in card
    assert "<details>" in card and card.endswith("\n29. class 29\n\n</details>\n")


def test_a_published_checkpoint_keeps_its_licence(tmp_path):
    network = {"name": "c2d_r23", "num_classes": 2, "width": 8}
    config = ModelConfig(network, ["a", "b"], weights={"source": "pytorchvideo", "licence": "Apache-2.0"})
    save_model(create_model(**network), config, tmp_path / "model")
    assert front_matter(model_card(tmp_path / "model", "someone/clips"))["license"] == "apache-2.0"
    assert front_matter(model_card(tmp_path / "model", "someone/clips", license="mit"))["license"] == "mit"


@pytest.mark.parametrize("stages", [None, ["2d", "full+unshared", ["full", "2d"], "full"]])
def test_the_cards_commands_parse(tmp_path, stages):
    network = {"name": "c2d_r23", "num_classes": 2, "stages": stages, "width": 8}
    save_model(create_model(**network), ModelConfig(network, ["a", "b"]), tmp_path / "model")
    lines = [line for line in model_card(tmp_path / "model", "someone/clips").splitlines() if line.startswith("$ smallbig ")]
    arguments = {}
    for line in lines:
        verb, *words = shlex.split(line)[2:]
        act = getattr(import_module(f"smallbignet.commands.{verb}"), verb)
        arguments[verb], _ = parse_call(act, f"smallbig {verb}", cli.VERBS[verb], words)
    assert arguments["predict"]["model"] == arguments["evaluate"]["model"] == "someone/clips"
    model = arguments["train"]["config"].model
    assert (model.name, model.stages, model.width, model.weights) == ("c2d_r23", stages, 8, "someone/clips")
