"""SmallBigNet (CVPR 2020) for video classification: train on your own clips, evaluate, predict.

    model = smallbignet.create_model("smallbig_r50", num_classes=400)  # (N, 3, T, H, W) -> (N, 400)
    smallbignet.VideoClassifier("runs/mine").predict("clip.mp4", top=5)  # [Prediction(label, score), ...]

The names are imported when they are first used: `import smallbignet` does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smallbignet.commands.evaluate import evaluate
    from smallbignet.commands.train import train
    from smallbignet.data.options import DataSource
    from smallbignet.data.video import open_video
    from smallbignet.errors import SmallBigError, VideoError, WorkError
    from smallbignet.inference.classifier import Prediction, VideoClassifier
    from smallbignet.inference.fuse import fuse
    from smallbignet.models.complexity import complexity
    from smallbignet.models.smallbig import BlockSpec, SmallBigNet
    from smallbignet.models.zoo import block_spec, list_models
    from smallbignet.training.settings import load_recipe
    from smallbignet.version import __version__
    from smallbignet.weights.directory import save_model
    from smallbignet.weights.load import create_model, load_config, load_model

_NAMES_OF = {
    "commands.evaluate": ["evaluate"],
    "commands.train": ["train"],
    "data.options": ["DataSource"],
    "data.video": ["open_video"],
    "errors": ["SmallBigError", "VideoError", "WorkError"],
    "inference.classifier": ["Prediction", "VideoClassifier"],
    "inference.fuse": ["fuse"],
    "models.complexity": ["complexity"],
    "models.smallbig": ["BlockSpec", "SmallBigNet"],
    "models.zoo": ["block_spec", "list_models"],
    "training.settings": ["load_recipe"],
    "version": ["__version__"],
    "weights.directory": ["save_model"],
    "weights.load": ["create_model", "load_config", "load_model"],
}
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
