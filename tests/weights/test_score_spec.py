"""How scores are made, as config.json says it."""

import json

import pytest

from smallbignet import SmallBigError
from smallbignet.weights.directory import ModelConfig, ScoreSpec

NETWORK = {"name": "smallbig_r23", "num_classes": 3}


def test_it_reads_back_as_itself_and_older_files_have_none():
    spec = ScoreSpec("softmax", 1.7, [0.5, 0.6, 0.7])
    config = ModelConfig(NETWORK, ["a", "b", "c"], scores=spec)
    assert ModelConfig.from_json(config.to_json()) == config
    assert [spec.threshold(label) for label in range(3)] == [0.5, 0.6, 0.7]
    values = json.loads(config.to_json())
    del values["scores"]
    older = ModelConfig.from_json(json.dumps(values)).scores
    assert older == ScoreSpec() and (older.temperature, older.threshold(2)) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"temperature": 0}, "scores.temperature must be a number from 0.01 to 100, not 0"),
        ({"temperature": float("nan")}, "scores.temperature must be"),
        ({"kind": "argmax"}, "scores.kind must be softmax or sigmoid, not 'argmax'"),
        ({"thresholds": [0.5, 0.5]}, "one number, or one for each of the classes, and there are 2"),
        ({"thresholds": [1.5]}, r"scores.thresholds\[0\] must be a number from 0 to 1, not 1.5"),
        ({"threshold": [0.5]}, "unknown key 'threshold' in scores; did you mean"),
        ([], "scores must be a mapping with kind, temperature, thresholds"),
    ],
)
def test_wrong_values_are_named(scores, message):
    values = json.loads(ModelConfig(NETWORK, ["a", "b", "c"]).to_json())
    with pytest.raises(SmallBigError, match=message):
        ModelConfig.from_json(json.dumps(values | {"scores": scores}))
