"""SmallBigNet (CVPR 2020) for video classification: train on your own clips, evaluate, predict.

    model = smallbignet.create_model("smallbig_r50", num_classes=400)  # (N, 3, T, H, W) -> (N, 400)
    smallbignet.VideoClassifier("runs/mine").predict("clip.mp4", top=5)  # [Prediction(label, score), ...]

The names are imported when they are first used: `import smallbignet` does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from smallbignet.classifier import Prediction, VideoClassifier
    from smallbignet.data.video import open_video
    from smallbignet.deploy.fuse import fuse
    from smallbignet.errors import SmallBigError, VideoError, WorkError
    from smallbignet.models.complexity import complexity
    from smallbignet.models.directory import load_config, load_model, save_model
    from smallbignet.models.smallbig import BlockSpec, SmallBigNet
    from smallbignet.models.zoo import block_spec, create_model, list_models

_HOME = {
    "classifier": ["Prediction", "VideoClassifier"],
    "data.video": ["open_video"],
    "deploy.fuse": ["fuse"],
    "errors": ["SmallBigError", "VideoError", "WorkError"],
    "models.complexity": ["complexity"],
    "models.directory": ["load_config", "load_model", "save_model"],
    "models.smallbig": ["BlockSpec", "SmallBigNet"],
    "models.zoo": ["block_spec", "create_model", "list_models"],
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
