"""The clips that variants are compared on."""

import pytest
import torch

from smallbignet import SmallBigError
from smallbignet.timing import clips as module


def test_real_clips_are_those_of_the_data_set(run, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CALIBRATION", 2)
    file = module.write_clips(str(clips / "train"), str(run), (4, 32), str(tmp_path))
    written = torch.load(file)
    assert written.shape == (12, 3, 4, 32, 32) and written.unique(dim=0).shape[0] == 12
    monkeypatch.setattr(module, "CALIBRATION", 12)
    with pytest.raises(SmallBigError, match="more than 12 videos"):
        module.write_clips(str(clips / "train"), str(run), (4, 32), str(tmp_path))
