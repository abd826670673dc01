"""Model directories on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub
from huggingface_hub.constants import ENDPOINT
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, RepositoryNotFoundError

from smallbignet.errors import SmallBigError, WorkError
from smallbignet.weights.directory import CONFIG, WEIGHTS


def download_model(repo_id: str) -> Path:
    """Returns the local copy of a model directory on the hub, which the hub's library caches and keeps up to date.

    Args:
        repo_id: "org/name".

    Raises:
        SmallBigError: there is no such repository, no access to it, or no model in it.
        WorkError: the hub can't be reached and the model is not in the cache, or the download failed.
    """
    with hub_errors(repo_id):
        directory = Path(huggingface_hub.snapshot_download(repo_id, allow_patterns=[CONFIG, WEIGHTS]))
    if missing := [name for name in (CONFIG, WEIGHTS) if not (directory / name).is_file()]:
        what = f"this repository on the hub holds no smallbignet model: no {', no '.join(missing)}"
        raise SmallBigError(what, repo_id)
    return directory


@contextmanager
def hub_errors(repo_id: str) -> Iterator[None]:
    """Turns errors of the hub's library into one line that names the repository and says what to do."""
    try:
        yield
    except HFValidationError as error:
        raise SmallBigError("a repository on the hub is named org/name", repo_id) from error
    except RepositoryNotFoundError as error:  # the hub says the same of private and gated repositories
        what = "the hub has no such repository, or doesn't show it to you: check the name, or log in with `hf auth login`"
        raise SmallBigError(what, repo_id) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        what = (
            f"{ENDPOINT} can't be reached, and this is neither a folder nor in the hub's cache: go online, unset HF_HUB_OFFLINE"
        )
        raise WorkError(what, repo_id) from error
    except Exception as error:  # the hub's HTTP library, and so the class of a network error, changes between versions
        if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
            raise SmallBigError(
                "the hub refuses this: log in with `hf auth login`, with a token that allows it", repo_id
            ) from error
        what = f"the hub failed: {' '.join(str(error).split())}; see whether {ENDPOINT} can be reached, and try again"
        raise WorkError(what, repo_id) from error
