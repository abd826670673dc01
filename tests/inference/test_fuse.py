"""The inference form has the outputs of the network."""

import copy

import pytest
import torch
from torch import nn

from smallbignet import SmallBigError, list_models
from smallbignet.inference.fuse import fuse

BLOCKS = ["full+avg", "full+unshared", "full+singlebn", "full+3d", "typical+se", "smallbig_3x1x1", "smallbig_3x5x5"]
BLOCKS += ["smallbig_3x7x7", "smallbig_Tx3x3", "typical+semax", "full+avgviews", "full+vector", "full+after", "full+centred"]
BOUNDS = {"cpu": 1e-5, "cuda": 1e-4}  # cuDNN takes minimal filtering and Fourier transforms for some convolutions
NETWORKS = [(name, None) for name in list_models()] + [("smallbig_r23", [block] * 4) for block in BLOCKS]
GPU_NETWORKS = [(name, None) for name in ("smallbig_r23", "nonlocal_r23", "tsm_r50", "slowfast_r50")]  # one of each kind
GPU_NETWORKS += [("smallbig_r23", [block] * 4) for block in BLOCKS if block not in ("smallbig_3x5x5", "smallbig_3x7x7")]
PLACES = {"cpu": NETWORKS} | ({"cuda": GPU_NETWORKS} if torch.cuda.is_available() else {})
every_network = pytest.mark.parametrize(
    ("device", "name", "stages"),
    [
        pytest.param(device, name, stages, marks=[pytest.mark.gpu] * (device == "cuda"), id=f"{device}-{(stages or [name])[0]}")
        for device, networks in PLACES.items()
        for name, stages in networks
    ],
    indirect=["device"],
)


@every_network
def test_every_network_gives_the_same_logits_at_any_clip_length_and_size(name, stages, random_network, change, device):
    model = random_network(name, stages=stages, width=8).to(device)
    before, fused = copy.deepcopy(model.state_dict()), fuse(model)
    for shape in ((2, 3, 8, 64, 64), (1, 3, 16, 40, 56)):
        assert change(model, fused, torch.randn(shape, device=device)) < BOUNDS[device]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("shape", [(1, 3, 1, 32, 32), (3, 3, 2, 32, 64), (1, 3, 5, 33, 47)])
def test_small_and_odd_clips(shape, random_network, change, device):
    model = random_network("smallbig_r23", stages=["full"] * 4, width=8).to(device)
    assert change(model, fuse(model), torch.randn(shape, device=device)) < BOUNDS[device]


@every_network
def test_bfloat16_is_near_and_returns_float32(name, stages, random_network, change, device):
    model, x = random_network(name, stages=stages, width=16).to(device), torch.randn(1, 3, 8, 64, 64, device=device)
    fused = fuse(model, torch.bfloat16)
    assert fused(x).dtype == torch.float32
    assert 1e-4 < change(model, fused, x) < 0.1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_tf32_and_float16_are_near_on_a_gpu(random_network, change, monkeypatch):
    model, x = random_network("smallbig_r23", width=16).cuda(), torch.randn(2, 3, 8, 64, 64, device="cuda")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert change(model, fuse(model, torch.float16), x) < 0.02
    with torch.no_grad():
        expected = model(x)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    for form in (model, fuse(model)):
        assert change(lambda _: expected, form.requires_grad_(False), x) < 0.02


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_cuda_graph_gives_the_same_bits(dtype, random_network):
    fused, x = fuse(random_network("smallbig_r23", width=16).cuda(), dtype), torch.randn(2, 3, 8, 64, 64, device="cuda")
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        fused(x)
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        y = fused(x)
    for seed in range(2):
        x.copy_(torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)))
        graph.replay()
        assert torch.equal(y, fused(x))


def test_the_networks_surface(random_network, change):
    model, x = random_network("slowfast_r50", width=8, head_window=1), torch.randn(1, 3, 8, 64, 64)
    assert change(model.forward_features, fuse(model).forward_features, x) < 1e-5
    assert change(model, fuse(model), x) < 1e-5
    model.reset_classifier(0)
    assert fuse(model)(x).shape == (1, model.num_features)
    with pytest.raises(SmallBigError, match="Linear"):
        fuse(nn.Linear(1, 1))
