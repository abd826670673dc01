"""A ResNet-50 that checkpoints of other toolkits are made of, and what they compute with it."""

import pytest
import torch
import torchvision


@pytest.fixture(scope="session")
def frame_net():
    """torchvision's ResNet-50 of 5 classes with random weights, its normalisations' statistics included."""
    torch.manual_seed(0)
    model = torchvision.models.resnet50(num_classes=5).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                torch.nn.init.uniform_(tensor, 0.5, 1.0)
            for tensor in (module.bias, module.running_mean):
                torch.nn.init.uniform_(tensor, -0.1, 0.1)
    return model


@pytest.fixture(scope="session")
def tsn(frame_net):
    """TSN: (N, 3, T, H, W) -> the frames' logits, averaged."""

    def logits(clip):
        with torch.inference_mode():
            return torch.stack([frame_net(clip[:, :, t]) for t in range(clip.shape[2])]).mean(0)

    return logits


@pytest.fixture(scope="session")
def tsm(frame_net):
    """TSM: as TSN, but before every block's first convolution an eighth of the channels comes from the next frame, and an
    eighth from the previous frame."""

    def logits(clip):
        def shift(_, args):
            x = args[0].unflatten(0, (-1, clip.shape[2]))  # (N, T, C, H, W)
            fold, shifted = x.shape[2] // 8, x.clone()
            shifted[:, :, : 2 * fold] = 0
            shifted[:, :-1, :fold] = x[:, 1:, :fold]
            shifted[:, 1:, fold : 2 * fold] = x[:, :-1, fold : 2 * fold]
            return shifted.flatten(0, 1)

        stages = (frame_net.layer1, frame_net.layer2, frame_net.layer3, frame_net.layer4)
        hooks = [block.conv1.register_forward_pre_hook(shift) for stage in stages for block in stage]
        with torch.inference_mode():
            frames = frame_net(clip.transpose(1, 2).flatten(0, 1))
        for hook in hooks:
            hook.remove()
        return frames.unflatten(0, (-1, clip.shape[2])).mean(1)

    return logits
