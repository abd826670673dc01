"""A training step of a network whose weights are sharded (FSDP)."""

from collections.abc import Iterator

import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from smallbignet import create_model
from smallbignet.data.datasets import Batch
from smallbignet.training.distributed import make_accelerator
from smallbignet.training.learner import Learner, make_optimizer
from smallbignet.training.settings import TrainConfig


@pytest.fixture
def group_of_one() -> Iterator[None]:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def weights_after_a_step(config: TrainConfig, accelerator: Accelerator) -> list[torch.Tensor]:
    torch.manual_seed(0)
    network = create_model(config.model.name, 3, width=config.model.width).to(memory_format=torch.channels_last_3d)
    learner = Learner(network, 3, config, accelerator)
    learner.start_epoch()
    clips = torch.randint(256, (4, 4, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    learner.step([Batch(clips, torch.tensor([0, 1, 2, 0]), torch.arange(4))], rate=0.1, seed=0)
    return [getattr(p, "full_tensor", lambda p=p: p)().detach() for p in learner.model.parameters()]


def test_sharded_weights_make_the_step_of_whole_ones(tiny, group_of_one, monkeypatch):
    """Accelerate shards on GPUs only, so PyTorch's own function stands in for it here."""
    config = tiny()
    whole = weights_after_a_step(config, make_accelerator(config))

    def shard(network: nn.Module, _optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        network = fully_shard(network, mesh=init_device_mesh("cpu", (1,)))
        return network, make_optimizer(network, config.optim)

    accelerator = make_accelerator(config)
    monkeypatch.setattr(accelerator, "prepare", shard)
    monkeypatch.setattr("smallbignet.training.learner.is_sharded", lambda _: True)
    sharded = weights_after_a_step(config, accelerator)
    for one, other in zip(sharded, whole, strict=True):
        torch.testing.assert_close(one, other)
