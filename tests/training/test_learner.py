"""A training step of a network whose weights are sharded (FSDP)."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from smallbignet import SmallBigError, create_model
from smallbignet.data.datasets import Batch
from smallbignet.data.transforms import to_input
from smallbignet.training.distributed import make_accelerator
from smallbignet.training.learner import Learner, build_network, make_optimizer
from smallbignet.training.settings import NetworkSpec, TrainConfig


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
    learner.step([Batch(clips, torch.tensor([0, 1, 2, 0]), torch.arange(4))], clips=4, rate=0.1, seed=0)
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


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_layers_with_loaded_weights_have_a_part_of_the_learning_rate(tiny, name):
    """The first step, without momentum and decay: SGD's is the rate times the gradient, AdamW's has the length of the rate."""
    words = ["--optim.name", name, "--optim.backbone_lr", "0.25", "--optim.momentum", "0", "--optim.weight_decay", "0"]
    learner = make_learner(tiny(*words, "--model.drop_rate", "0", "--model.name", "smallbig_r50"))
    before = {key: value.detach().clone() for key, value in learner.model.named_parameters()}
    gradients: dict[str, torch.Tensor] = {}
    for key, parameter in learner.model.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda p, key=key: gradients.update({key: p.grad.clone()}))
    learner.step(random_batches(1, 4), clips=4, rate=0.01, seed=0)
    for key, parameter in learner.model.named_parameters():
        is_new = "bn_big" in key or "extra" in key or key.startswith("fc.")
        direction = gradients[key] if name == "sgd" else gradients[key] / (gradients[key].abs() + 1e-8)
        expected = before[key] - 0.01 * (1.0 if is_new else 0.25) * direction
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-4, atol=1e-6)


def test_slowfast_has_no_stages_to_freeze(tiny):
    config = tiny("--model.name", "slowfast_4x16_r50", "--model.freeze", "stem", "--clip.clip_len", "32")
    network = create_model(config.model.name, 3, width=config.model.width)
    with pytest.raises(SmallBigError, match="no stem, res2"):
        Learner(network, 3, config, make_accelerator(config))


def random_batches(steps: int, clips: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    return [
        Batch(
            torch.randint(256, (clips, 4, 32, 32, 3), dtype=torch.uint8, generator=generator),
            torch.randint(3, (clips,), generator=generator),
            torch.arange(clips),
        )
        for _ in range(steps)
    ]


def make_learner(config: TrainConfig) -> Learner:
    torch.manual_seed(0)
    network = create_model(config.model.name, 3, width=config.model.width)
    learner = Learner(network, 3, config, make_accelerator(config))
    learner.start_epoch()
    return learner


def test_the_decay_of_the_moving_average_warms_up(tiny):
    """Against the weights and statistics of a run without an average, averaged by hand."""
    plain = make_learner(tiny("--model.drop_rate", "0"))
    averaged = make_learner(tiny("--model.drop_rate", "0", "--optim.ema_decay", "0.4"))
    expected: dict[str, torch.Tensor] = {}
    for n, batch in enumerate(random_batches(7, 4)):
        for learner in (plain, averaged):
            learner.step([batch], clips=4, rate=0.05, seed=n)
        decay = min(0.4, (1 + n) / (10 + n)) if n else 0.0
        for key, value in plain.model.state_dict().items():
            if value.is_floating_point():
                expected[key] = decay * expected.get(key, value) + (1 - decay) * value
    state = averaged.whole_model().state_dict()
    assert sum("running" in key for key in expected) > 10
    for key, value in expected.items():
        torch.testing.assert_close(state[key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("videos", "accumulate", "processes"), [(7, 2, 1), (5, 4, 1), (3, 2, 1), (7, 2, 2), (5, 2, 2), (8, 4, 2)]
)
def test_the_gradient_is_the_mean_over_the_clips(tiny, monkeypatch, videos, accumulate, processes):
    """Against one big batch, in float64. The mean over processes is taken by hand, as DistributedDataParallel takes it."""
    settings = ["--optim.accumulate", str(accumulate), "--optim.freeze_bn", "true", "--optim.momentum", "0"]
    config = tiny(*settings, "--optim.weight_decay", "0", "--model.drop_rate", "0")
    monkeypatch.setattr("smallbignet.training.learner.to_input", lambda clips, spec: to_input(clips, spec).double())
    [batch] = random_batches(1, videos)
    learner = make_learner(config)
    learner.model.double()
    parameters = list(learner.model.parameters())
    loss = F.cross_entropy(learner.model(to_input(batch.clips, config.input).double()), batch.labels)
    expected = torch.autograd.grad(loss, parameters)
    before = [parameter.detach().clone() for parameter in parameters]
    gradients = [torch.zeros_like(parameter) for parameter in parameters]
    monkeypatch.setattr(Accelerator, "num_processes", processes)
    for process in range(processes):
        for parameter, value in zip(parameters, before, strict=True):
            parameter.data.copy_(value)
        rows = list(range(videos))[process::processes]
        parts = [rows[part::accumulate] for part in range(accumulate)]
        batches = [Batch(batch.clips[part], batch.labels[part], batch.rows[part]) for part in parts]
        learner.step(batches, clips=videos, rate=1.0, seed=0)
        for gradient, value, parameter in zip(gradients, before, parameters, strict=True):
            gradient += (value - parameter.detach()) / processes
    for gradient, right in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-4, atol=1e-7)


def test_without_decay_of_normalisations_a_step_leaves_only_them(tiny):
    """With gradients of zero, what a step changes is the decay: w - lr * decay * w."""
    config = tiny("--optim.decay_norms", "false", "--optim.weight_decay", "0.1")
    network = create_model("smallbig_r23", 3, width=8)
    optimizer = make_optimizer(network, config.optim)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in network.named_parameters():
        is_norm = ".bn" in name
        expected = before[name] * (1 if is_norm else 1 - config.optim.lr * 0.1)
        torch.testing.assert_close(p.detach(), expected)


@pytest.mark.parametrize("name", ["c2d_r23", "slowfast_r50"])
def test_zero_initialised_blocks_return_their_shortcut(name, tmp_path):
    spec = NetworkSpec(name, width=8, zero_init_residual=True)
    network, _ = build_network(spec, ["a", "b"], "")
    block = getattr(network, "slow", network).res3[1].eval()
    x = torch.randn(1, block.unit1.conv.in_channels, 2, 8, 8)
    assert torch.equal(block(x), x.relu())
    torch.nn.init.ones_(block.unit3.bn.weight)
    torch.save(network.state_dict(), tmp_path / "trained.pth")
    again, _ = build_network(spec, ["a", "b"], str(tmp_path / "trained.pth"))
    assert getattr(again, "slow", again).res3[1].unit3.bn.weight.all()  # trained weights stay as they are
