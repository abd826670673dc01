"""config.json: what people hand each other is read whole, or refused in one line before anything is built."""

from __future__ import annotations

import copy
import json
import random
import re
import time

import pytest

from smallbignet import SmallBigError, load_config
from smallbignet.cli import main
from smallbignet.weights import directory as model_directory
from smallbignet.weights.directory import ModelConfig

VALID = {
    "network": {"name": "smallbig_r23", "num_classes": 2, "stages": ["2d", "full", "full+avg", "typical"], "width": 8},
    "classes": ["run", "walk"],
    "clip": {"sampling": "dense", "clip_len": 8, "frame_interval": 8},
    "input": {
        "size": 224,
        "train_short_side": [256, 320],
        "short_side": 256,
        "flip": True,
        "mean": [0, 0, 0.5],
        "std": [1, 1, 0.5],
    },
    "views": "10x3",
    "weights": {"source": "smallbig train", "smallbignet": "0.1.0"},
}
BLOCK = {"views": ["3x3x3", None, "Tx3x3"], "temporal": 3, "extra": "se", "pool": "avg", "shared": False}
GONE = object()
NAN, INF = float("nan"), float("inf")


def changed(path: str, value: object) -> dict:
    """The valid document with another value at a place such as "clip.clip_len", or with nothing there."""
    document = copy.deepcopy(VALID)
    *sections, key = path.split(".")
    place = document
    for section in sections:
        place = place[section]
    place[key] = value
    if value is GONE:
        del place[key]
    return document


@pytest.fixture
def write(tmp_path):
    """Writes a config.json, of bytes or of a document; returns the model directory."""

    def save(content: bytes | dict) -> str:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (tmp_path / "config.json").write_bytes(data)
        return str(tmp_path)

    return save


def refusal(directory: str) -> str:
    """The one-line error of a model directory's configuration, which comes within two seconds of the CPU's time."""
    started = time.process_time()
    with pytest.raises(SmallBigError) as caught:
        load_config(directory)
    assert time.process_time() - started < 2
    assert caught.value.where == f"{directory}/config.json" and "\n" not in str(caught.value)
    str(caught.value).encode()
    assert len(str(caught.value)) < 500
    return caught.value.what


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("clip", GONE),
        ("input", GONE),
        ("views", GONE),
        ("weights", GONE),
        ("network.stages", None),
        ("network.stages", GONE),
        ("network.stages", ["2d", BLOCK, {}, "nonlocal"]),
        ("network.drop_rate", 0.5),
        ("network.head_window", 7),
        ("network.head_window", None),
        ("input.std", [1, 1, 1]),
        ("clip.sampling", "uniform"),
        ("classes", ["a b", "é\u00a0ü\u3000漢"]),
        ("weights", {"source": "x", "top1": 76.3, "is_mine": True, "nothing": None}),
    ],
)
def test_what_is_allowed_is_read(write, path, value):
    config = load_config(write(changed(path, value)))
    assert ModelConfig.from_json(config.to_json()) == config
    top, _, key = path.partition(".")
    if value is not GONE and top in ("network", "classes", "weights"):
        assert (getattr(config, top)[key] if key else getattr(config, top)) == value


def test_values_are_of_the_types_that_networks_take(write):
    config = load_config(write(VALID))
    assert config.input.train_short_side == (256, 320) and config.input.mean == (0, 0, 0.5)
    assert (config.clip.clip_len, config.views, config.classes) == (8, "10x3", ["run", "walk"])


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("network", GONE, "network is missing"),
        ("network", [], "network must be a mapping of 1 to 100 values, not []"),
        ("network", "smallbig_r50", "network must be a mapping of 1 to 100 values, not 'smallbig_r50'"),
        ("network.name", GONE, "network.name is missing"),
        (
            "network.name",
            ["smallbig_r50"],
            "network.name must be a name of at most 100 letters and signs, not ['smallbig_r50']",
        ),
        ("network.name", None, "network.name must be a name of at most 100 letters and signs, not null"),
        ("network.name", "smallbig_r5", "network: unknown network; did you mean smallbig_r50?"),
        ("network.name", "", "network: unknown network"),
        ("network.num_classes", GONE, "network.num_classes must be 2, the number of classes, not None"),
        ("network.num_classes", 3, "network.num_classes must be 2, the number of classes, not 3"),
        ("network.num_classes", "2", "network.num_classes must be a whole number from 0 to 30,000, not '2'"),
        ("network.num_classes", 2.0, "network.num_classes must be a whole number from 0 to 30,000, not 2.0"),
        ("network.num_classes", -1, "network.num_classes must be a whole number from 0 to 30,000, not -1"),
        ("network.num_classes", 10**9, "network.num_classes must be a whole number from 0 to 30,000"),
        ("network.width", 10**9, "network.width must be a multiple of 8 from 8 to 512, not 1000000000"),
        ("network.width", 0, "network.width must be a multiple of 8 from 8 to 512, not 0"),
        ("network.width", -64, "network.width must be a multiple of 8 from 8 to 512, not -64"),
        ("network.width", 12, "network.width must be a multiple of 8 from 8 to 512, not 12"),
        ("network.width", 64.0, "network.width must be a multiple of 8 from 8 to 512, not 64.0"),
        ("network.width", True, "network.width must be a multiple of 8 from 8 to 512, not true"),
        ("network.drop_rate", 2, "network.drop_rate must be a number of at least 0 and below 1, not 2"),
        ("network.drop_rate", NAN, "network.drop_rate must be a number of at least 0 and below 1, not nan"),
        ("network.drop_rate", "0.5", "network.drop_rate must be a number of at least 0 and below 1, not '0.5'"),
        ("network.head_window", -1, "network.head_window must be null or a whole number from 1 to 100, not -1"),
        ("network.head_window", 0, "network.head_window must be null or a whole number from 1 to 100, not 0"),
        ("network.head_window", [7, 7], "network.head_window must be null or a whole number from 1 to 100, not [7, 7]"),
        ("network.depth", 50, "unknown key 'depth' in network; "),
        ("network.stages", "full", "network.stages must be null or a list of 4 values, each a name of at most"),
        ("network.stages", ["2d"] * 3, "network.stages must be null or a list of 4 values"),
        ("network.stages", [{}] * 10**5, "network.stages must be null or a list of 4 values"),
        ("network.stages", ["2d", "3e", "2d", "2d"], "network: unknown block; known: "),
        ("network.stages", ["2d", "2d+sse", "2d", "2d"], "network: unknown change of a block; known: "),
        (
            "network.stages",
            ["2d", 3, "2d", "2d"],
            "network.stages[1] must be a name of at most 100 letters and signs or a mapping with views, temporal",
        ),
        ("network.stages", ["2d", {"view": []}, "2d", "2d"], "unknown key 'view' in network.stages[1]; did you mean views?"),
        (
            "network.stages",
            ["2d", {"temporal": 10**9}, "2d", "2d"],
            "network.stages[1].temporal must be 1 or 3, not 1000000000",
        ),
        ("network.stages", ["2d", {"pool": "min"}, "2d", "2d"], "network.stages[1].pool must be max, avg or vector, not 'min'"),
        ("network.stages", ["2d", {"shared": 1}, "2d", "2d"], "network.stages[1].shared must be true or false, not 1"),
        ("network.stages", ["2d", {"views": ["3x3x3"]}, "2d", "2d"], "network.stages[1].views must be a list of 3 values"),
        (
            "network.stages",
            [{"views": ["2x2x2", None, None]}] * 4,
            "network.stages[0].views[0] must be null or a pooling window",
        ),
        ("network.stages", [{"views": ["9999x1x1", None, None]}] * 4, "network.stages[0].views[0] must be null or a pooling"),
        ("network.stages", [{"views": [3, None, None]}] * 4, "network.stages[0].views[0] must be null or a pooling window"),
        ("classes", GONE, "classes is missing"),
        ("classes", [], "classes must be a list of 1 to 30,000 values, each a text without control characters, not []"),
        ("classes", "ab", "classes must be a list of 1 to 30,000 values, each a text without control characters, not 'ab'"),
        ("classes", {"run": 0, "walk": 1}, "classes must be a list of 1 to 30,000 values, each a text"),
        ("classes", ["run", 2], "classes[1] must be a text without control characters, not 2"),
        ("classes", ["run", None], "classes[1] must be a text without control characters, not null"),
        ("classes", ["run", ""], "classes[1] must be a text without control characters, not ''"),
        ("classes", ["run", "\x1b[2J"], "classes[1] must be a text without control characters, not '\\x1b[2J'"),
        ("classes", ["run", "a\nb"], "classes[1] must be a text without control characters, not 'a\\nb'"),
        ("classes", ["run", "\ud800"], "classes[1] must be a text without control characters, not '\\ud800'"),
        ("classes", ["run", "run"], 'classes must be different names, and "run" is there twice'),
        ("classes", ["a"] * 10**5, "classes must be a list of 1 to 30,000 values"),
        ("classes", ["a"] * 30_000, "network.num_classes must be 30000, the number of classes, not 2"),
        ("clip", None, "clip must be a mapping with sampling, clip_len, frame_interval, fps, by_time, not null"),
        ("clip", 8, "clip must be a mapping with sampling, clip_len, frame_interval, fps, by_time, not 8"),
        ("clip.sampling", "random", "clip.sampling must be dense or uniform, not 'random'"),
        ("clip.sampling", ["dense"], "clip.sampling must be dense or uniform, not ['dense']"),
        ("clip.clip_len", 10**9, "clip.clip_len must be a whole number from 1 to 4,096, not 1000000000"),
        ("clip.clip_len", 0, "clip.clip_len must be a whole number from 1 to 4,096, not 0"),
        ("clip.clip_len", "8", "clip.clip_len must be a whole number from 1 to 4,096, not '8'"),
        ("clip.clip_len", 8.5, "clip.clip_len must be a whole number from 1 to 4,096, not 8.5"),
        ("clip.clip_len", NAN, "clip.clip_len must be a whole number from 1 to 4,096, not nan"),
        ("clip.clip_len", True, "clip.clip_len must be a whole number from 1 to 4,096, not true"),
        ("clip.clip_len", 4096, "a clip may have 33,554,432 pixels at most, and these have 419,430,400"),
        ("clip.frame_interval", -8, "clip.frame_interval must be a whole number from 1 to 10,000, not -8"),
        ("clip.frame_interval", 10**30, "clip.frame_interval must be a whole number from 1 to 10,000, not 1000"),
        ("clip.fps", NAN, "clip.fps must be a number from 0 to 1,000, not nan"),
        ("clip.fps", -1, "clip.fps must be a number from 0 to 1,000, not -1"),
        ("clip.by_time", "yes", "clip.by_time must be true or false, not 'yes'"),
        ("clip.clip_length", 8, "unknown key 'clip_length' in clip; did you mean clip_len?"),
        ("input", [], "input must be a mapping with size, train_short_side, short_side, flip, mean, std, not []"),
        ("input.size", 4000, "input sizes must satisfy size <= train_short_side[0]"),
        ("input.size", 0, "input.size must be a whole number from 1 to 4,096, not 0"),
        ("input.size", -224, "input.size must be a whole number from 1 to 4,096, not -224"),
        ("input.size", [224, 224], "input.size must be a whole number from 1 to 4,096, not [224, 224]"),
        ("input.short_side", 4000, "a clip may have 33,554,432 pixels at most, and these have 128,000,000"),
        ("input.short_side", 100, "input sizes must satisfy"),
        ("input.train_short_side", 256, "input.train_short_side must be a list of 2 values"),
        ("input.train_short_side", [320, 256], "input sizes must satisfy"),
        ("input.train_short_side", [256, 4000], "a clip may have 33,554,432 pixels at most"),
        ("input.flip", "yes", "input.flip must be true or false, not 'yes'"),
        ("input.mean", [NAN, 0, 0], "input.mean[0] must be a number from 0 to 1, not nan"),
        ("input.mean", [123.675, 116.28, 103.53], "input.mean[0] must be a number from 0 to 1, not 123.675"),
        ("input.mean", [0, 0], "input.mean must be a list of 3 values, each a number from 0 to 1, not [0, 0]"),
        ("input.mean", 0.5, "input.mean must be a list of 3 values, each a number from 0 to 1, not 0.5"),
        ("input.mean", [[0], [0], [0]], "input.mean[0] must be a number from 0 to 1, not [0]"),
        ("input.std", [0, 0.2, 0.2], "input.std[0] must be a number from 0.001 to 1, not 0"),
        ("input.std", [-0.2, 0.2, 0.2], "input.std[0] must be a number from 0.001 to 1, not -0.2"),
        ("input.std", [INF, 0.2, 0.2], "input.std[0] must be a number from 0.001 to 1, not inf"),
        ("views", "1000000x3", "views must be clips x crops, 1 to 1,000 clips and 1 or 3 crops, such as 10x3, not '1000000x3'"),
        ("views", "10x2", "views must be clips x crops"),
        ("views", "10x3\n", "views must be clips x crops"),
        ("views", "\u0661x3", "views must be clips x crops"),
        ("views", [10, 3], "views must be clips x crops"),
        ("views", "1000x3", "the views of a video may take 4,294,967,296 bytes at most, and these take"),
        ("weights", "slow_r50", "weights must be a mapping of 0 to 100 values, not 'slow_r50'"),
        ("weights", {"source": ["a"]}, "weights['source'] must be "),
        ("weights", {"top1": NAN}, "weights['top1'] must be "),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_what_is_allowed(write, path, value, words):
    assert refusal(write(changed(path, value))).startswith(words)


def test_slowfast_takes_multiples_of_its_alpha(write):
    document = changed("network", {"name": "slowfast_r50", "num_classes": 2})
    assert load_config(write(document)).network["name"] == "slowfast_r50"
    document["clip"]["clip_len"] = 9
    assert refusal(write(document)) == "clip.clip_len must be a multiple of 4 for slowfast_r50, not 9"


TEXT = json.dumps(VALID)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON: Expecting value"),
        (b"{", "not JSON"),
        (TEXT.encode()[:-1], "not JSON"),
        (TEXT.encode() + b"}", "not JSON: Extra data"),
        (b"\x00" * 100, "not JSON"),
        (TEXT.encode("utf-16"), "not text in UTF-8"),
        (TEXT.encode("utf-32"), "not text in UTF-8|not JSON"),
        (json.dumps(changed("classes", ["é", "ü"]), ensure_ascii=False).encode("latin-1"), "not text in UTF-8"),
        (b"[" * 10**5 + b"]" * 10**5, "nested too deeply"),
        (TEXT.replace('"0.1.0"', "[" * 10**5 + "]" * 10**5).encode(), "nested too deeply"),
        (b'{"a":' * 10**5 + b"1" + b"}" * 10**5, "nested too deeply"),
        (TEXT.replace('"clip_len": 8', '"clip_len": 8, "clip_len": 16').encode(), "the key 'clip_len' is there twice"),
        (
            TEXT.replace('"clip_len": 8', '"clip_len": ' + "8" * 5000).encode(),
            "not JSON: Exceeds the limit|must be a whole number",
        ),
        (TEXT.replace('"clip_len": 8', '"clip_len": 1e400').encode(), "clip.clip_len must be a whole number"),
        (b"[]", "must be a mapping with network, classes, clip, input, views, weights, scores, export, not \\[\\]"),
        (b"null", "the document must be a mapping"),
        (b'"config"', "the document must be a mapping"),
        (b"{}", "network is missing"),
        (b" " * 2**22 + b"{}", "it has 4,194,306 bytes, and a model's configuration has 4,194,304 at most"),
    ],
    ids=range(19),
)
def test_a_file_that_is_no_configuration_is_refused(write, content, words):
    assert re.search(words, refusal(write(content)))


def test_a_byte_order_mark_is_no_mistake(write):
    assert load_config(write(b"\xef\xbb\xbf" + TEXT.encode())) == load_config(write(VALID))


def test_keys_of_a_later_version_are_named_and_ignored(write, capfd):
    model_directory._note_unknown.cache_clear()
    directory = write(VALID | {"crops": {"kind": "five"}, "zoo": 1})
    assert load_config(directory) == load_config(directory) == ModelConfig.from_json(TEXT)
    assert capfd.readouterr().err == (
        "note: this version of smallbignet doesn't know these keys of config.json and ignores them: 'crops', 'zoo'\n"
    )


@pytest.mark.parametrize("verb", [["predict"], ["evaluate"], ["push"], ["benchmark", "--model"]], ids=lambda words: words[0])
def test_every_verb_says_it_in_one_line(write, verb, tmp_path, capsys):
    directory = write(changed("clip.clip_len", 10**9))
    (tmp_path / "clip.mp4").write_bytes(b"x")
    others = {"push": ["me/x"], "benchmark": []}.get(verb[0], [str(tmp_path / "clip.mp4")])
    assert main([*verb, directory, *others]) == 2
    err = capsys.readouterr().err
    assert err == (
        f"smallbig: error: clip.clip_len must be a whole number from 1 to 4,096, not 1000000000 ({directory}/config.json)\n"
    )


def test_a_folder_in_the_place_of_the_file(tmp_path):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(SmallBigError, match="no model here"):
        load_config(tmp_path)


ODD = [
    None,
    True,
    -1,
    0,
    1,
    2**31,
    10**30,
    0.5,
    -0.0,
    1e308,
    NAN,
    INF,
    "",
    "8",
    "x" * 10**5,
    "\x00",
    "\ud83d",
    [],
    [[]],
    {},
    {"a": {}},
]


def mutated(document: dict, rng: random.Random) -> bytes:
    """A document with one to three changes of its values, keys or bytes."""
    document = copy.deepcopy(document)
    for _ in range(rng.randint(1, 3)):
        place, key = document, rng.choice(list(document))
        while isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.8:
            place = place[key]
            key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        kind = rng.randrange(5)
        if kind == 0 and isinstance(place, dict):
            place[rng.choice(["", "size", "é", str(key) + "s"])] = place.pop(key)
        elif kind == 1 and isinstance(place, list):
            place.extend([place[key]] * rng.choice([1, 1000]))
        else:
            place[key] = rng.choice(ODD)
        if not document:
            break
    data = json.dumps(document, ensure_ascii=rng.random() < 0.7).encode(
        rng.choice(["utf-8"] * 8 + ["utf-16", "utf-8-sig"]), "surrogatepass"
    )
    if rng.random() < 0.3:
        data = data[: rng.randrange(len(data))]
    if rng.random() < 0.3:
        place = rng.randrange(len(data) + 1)
        data = data[:place] + rng.choice([b"[" * 10**4, b"\xff", b"9" * 400, b",", b"{", b"\x00"]) + data[place:]
    return data


def test_two_hundred_malformed_documents(write):
    """Each loads with values within their limits, or is an error in one line."""
    rng = random.Random(0)
    loaded = 0
    for _ in range(200):
        directory = write(mutated(VALID, rng))
        started = time.monotonic()
        try:
            config = load_config(directory)
        except SmallBigError as error:
            assert "\n" not in str(error) and len(str(error)) < 600, str(error)
            str(error).encode()
        else:
            loaded += 1
            assert ModelConfig.from_json(config.to_json()) == config
            assert 1 <= config.clip.clip_len <= 4096 and all(0.001 <= value <= 1 for value in config.input.std)
            assert len(set(config.classes)) == config.network["num_classes"] and config.network["width"] <= 512
        assert time.process_time() - started < 2
    assert 0 < loaded < 100
