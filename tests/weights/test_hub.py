"""Models from the hub: what is asked for, and one line for whatever goes wrong. No test goes online."""

from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from smallbignet import SmallBigError, load_model
from smallbignet.errors import WorkError
from smallbignet.weights.hub import download_model


def response(status):
    """What errors of the hub's library keep of the response."""
    return SimpleNamespace(status_code=status, headers={}, request=None)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            RepositoryNotFoundError("404 Client Error.\n\nNot found", response=response(404)),
            SmallBigError,
            "no such repository",
        ),
        (GatedRepoError("403 Client Error.\n\nGated", response=response(403)), SmallBigError, "or log in with `hf auth login`"),
        (HfHubHTTPError("401 Client Error.\n\nNo.", response=response(401)), SmallBigError, "log in with `hf auth login`"),
        (
            HfHubHTTPError("503 Server Error.\n\nBusy", response=response(503)),
            WorkError,
            "the hub failed: 503 Server Error. Busy",
        ),
        (LocalEntryNotFoundError("Cannot find\nthis"), WorkError, "can't be reached, .* HF_HUB_OFFLINE"),
        (ConnectionError("no route"), WorkError, "the hub failed: no route"),
    ],
    ids=["unknown", "gated", "private", "down", "offline", "network"],
)
def test_a_failed_download_is_one_line_that_names_the_repository(monkeypatch, error, kind, words):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(SmallBigError, match=words) as caught:
        download_model("some/model")
    assert type(caught.value) is kind
    assert str(caught.value).endswith("(some/model)") and "\n" not in str(caught.value)


def test_a_name_that_the_hub_cannot_have():
    with pytest.raises(SmallBigError, match=r"named org/name \(a/b/c\)"):
        download_model("a/b/c")


@pytest.mark.parametrize(
    ("files", "missing"), [(["README.md"], "no config.json, no model"), (["config.json"], "no model.safet")]
)
def test_a_repository_of_something_else_is_refused(monkeypatch, tmp_path, files, missing):
    for name in files:
        (tmp_path / name).write_text("{}")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repo, **options: str(tmp_path))
    with pytest.raises(SmallBigError, match=missing):
        load_model("some/model")


def test_only_a_models_two_files_are_asked_for(monkeypatch, run):
    asked = {}
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda repo, **options: asked.update(repo=repo, **options) or str(run / "best")
    )
    assert download_model("some/model") == run / "best"
    assert asked == {"repo": "some/model", "allow_patterns": ["config.json", "model.safetensors"]}
