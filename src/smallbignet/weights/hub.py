"""Model directories on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub
from huggingface_hub.constants import ENDPOINT
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, RepositoryNotFoundError

from smallbignet.errors import SmallBigError, WorkError

FILES = ("config.json", "model.safetensors")  # of a model directory


def download_model(repo_id: str) -> Path:
    """The local copy of a model directory on the hub, "org/name"; the hub's library caches it and looks for newer files.

    Raises:
        SmallBigError: no such repository, no access to it, or no model in it.
        WorkError: the hub can't be reached and the model isn't in the cache, or the download failed.
    """
    with hub_errors(repo_id):
        directory = Path(huggingface_hub.snapshot_download(repo_id, allow_patterns=list(FILES)))
    if missing := [name for name in FILES if not (directory / name).is_file()]:
        raise SmallBigError(f"this repository on the hub holds no model of smallbignet's: no {', no '.join(missing)}", repo_id)
    return directory


@contextmanager
def hub_errors(repo_id: str) -> Iterator[None]:
    """Turns what the hub's library raises into one line that names the repository and says what to do."""
    try:
        yield
    except HFValidationError as error:
        raise SmallBigError("a repository on the hub is named org/name", repo_id) from error
    except RepositoryNotFoundError as error:  # private and gated ones look like that from outside, too
        what = "the hub has no such repository, or doesn't show it to you: check the name, or log in with `hf auth login`"
        raise SmallBigError(what, repo_id) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise WorkError(
            f"{ENDPOINT} can't be reached, and neither a folder nor the hub's cache has this: go online, unset HF_HUB_OFFLINE",
            repo_id,
        ) from error
    except Exception as error:  # its library for HTTP, and with it what a failing network raises, changes with the version
        if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
            raise SmallBigError("the hub refuses this: log in with `hf auth login`, with a token that may", repo_id) from error
        what = f"the hub failed: {' '.join(str(error).split())}; see whether {ENDPOINT} can be reached, and try again"
        raise WorkError(what, repo_id) from error
