"""Labels videos by the network beside this file, as `smallbig predict` does: python run.py VIDEO...

Needs numpy, av (PyAV) and what runs the network: onnxruntime, openvino or torch. config.json says how videos are read.
"""

import json
import sys
from pathlib import Path

import av
import numpy as np

HERE = Path(__file__).parent
CONFIG = json.loads((HERE / "config.json").read_text(encoding="utf-8"))
CLIP, INPUT, SCORES = CONFIG["clip"], CONFIG["input"], CONFIG["scores"]
LENGTH, INTERVAL = CLIP["clip_len"], CLIP["frame_interval"]
LIMITS = {"protocol_whitelist": "file"}  # no playlist can open an address


def load_network():
    """Return a function from a clip, float32 (1, 3, T, S, S), to logits, (1, classes)."""
    runtime = CONFIG["export"]["runtime"]
    if runtime == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
        return lambda clip: session.run(["logits"], {"clips": clip})[0]
    if runtime == "openvino":
        import openvino

        network = openvino.Core().compile_model(HERE / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda clip: network([clip])[0]
    import torch

    network = torch.export.load(HERE / "model.pt2").module()
    return lambda clip: network(torch.from_numpy(clip))[0].detach().numpy()


def read_times(path):
    """Return when each frame is shown, in seconds from the first; and the frames per second, 0 if unknown."""
    with av.open(f"file:{path}", options=LIMITS) as container:
        stream = container.streams.best("video")
        rate = float(stream.average_rate or 0)
        shown = [frame.time for frame in container.decode(stream)]
        if container.format.name.startswith(("mov", "matroska")) and None not in shown:
            return np.array(shown) - shown[0], rate
    return np.arange(len(shown)) / (rate or 25), rate


def choose_frames(times, rate, num_clips):
    """Return the numbers of the frames of clips that cover a video, (clips, T)."""
    count, interval, frames = len(times), INTERVAL, np.arange(len(times))
    dense = CLIP["sampling"] == "dense"
    if count > 1 and not dense and CLIP["by_time"]:  # the frame that is shown in the middle of each of `count` equal parts
        step = times[-1] / (count - 1)
        frames = np.searchsorted(times[1:], step / 2 + np.arange(count) * step, side="right")
    if count > 1 and dense and CLIP["fps"] and rate:  # places at a frame rate, and the frame nearest to each in time
        duration = times[-1] * count / (count - 1)
        parts = max(1, round(min(count / duration / CLIP["fps"], 10_000 // interval)))
        step, interval = 1 / (CLIP["fps"] * parts), interval * parts
        places = step / 1000 + np.arange(max(1, round(duration / step))) * step
        frames = np.searchsorted((times[1:] + times[:-1]) / 2, places, side="right")
    count, span, slots = len(frames), LENGTH * interval, np.arange(LENGTH)
    if not dense:
        place = (num_clips + 2 * np.arange(num_clips)[:, None]) % (2 * num_clips)
        return frames[(slots * 2 * num_clips + place) * count // (LENGTH * 2 * num_clips)]
    num_clips = max(num_clips, -(-count // span))
    clips, last = np.arange(num_clips)[:, None], count - span
    starts = clips * count // num_clips if last < 0 else clips * last // (num_clips - 1) if num_clips > 1 else last // 2 + clips
    return frames[(starts + slots * interval) % count]


def read_frames(path, wanted):
    """Yield the number and the upright image, uint8 (H, W, 3), of each frame whose number is wanted."""
    with av.open(f"file:{path}", options=LIMITS) as container:
        stream = container.streams.best("video")
        ratio = stream.sample_aspect_ratio or 1
        ratio = ratio if abs(ratio - 1) >= 0.02 and 1 / 8 <= ratio <= 8 else 1
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                width = max(1, round(stream.codec_context.width * ratio))
                image = frame.reformat(width, stream.codec_context.height, "rgb24").to_ndarray()
                yield number, np.rot90(image, round(frame.rotation / 90))


def resize(image, axis, size):
    """Resize one axis by a triangle filter in whole numbers, as torchvision does with antialiasing."""
    scale = image.shape[axis] / size
    reach = max(scale, 1)
    centres = (np.arange(size) + 0.5) * scale
    first = np.maximum((centres - reach + 0.5).astype(int), 0)
    end = np.minimum((centres + reach + 0.5).astype(int), image.shape[axis])
    taps = first[:, None] + np.arange((end - first).max())
    weights = np.maximum(1 - abs((taps - centres[:, None] + 0.5) * (1 / reach)), 0) * (taps < end[:, None])
    weights /= weights.sum(1, keepdims=True)
    bits = next(bits for bits in range(23) if bits == 22 or int(0.5 + weights.max() * 2 ** (bits + 1)) >= 2**15)
    whole = (weights * 2**bits + 0.5).astype(np.int32)
    rows = np.moveaxis(image, axis, 0)
    total = np.int32(1 << bits - 1)
    for tap, weight in enumerate(whole.T):
        total = total + rows[np.minimum(taps[:, tap], len(rows) - 1)] * weight[:, None, None]
    return np.moveaxis((total >> bits).clip(0, 255).astype(np.uint8), 0, axis)


def crops(image, num_crops):
    """Return the centre of an image, or three squares along its longer side: uint8 (crops, S, S, 3)."""
    side, (height, width) = INPUT["short_side"], image.shape[:2]
    sizes = (side, int(side * width / height)) if height <= width else (int(side * height / width), side)
    image = resize(resize(image, 1, sizes[1]), 0, sizes[0])
    if num_crops == 1:
        side = INPUT["size"]
        corners = [tuple(round((length - side) / 2) for length in sizes)]
    else:
        corners = [tuple((length - side) * i // 2 for length in sizes) for i in range(3)]
    return np.stack([image[top : top + side, left : left + side] for top, left in corners])


def score(network, path):
    """Return the mean score of each class over the views of a video, at the model's temperature."""
    num_clips, num_crops = map(int, CONFIG["views"].split("x"))
    times, rate = read_times(path)
    clips = choose_frames(times, rate, num_clips)
    images = {number: crops(image, num_crops) for number, image in read_frames(path, set(clips.flat))}
    mean, std = (255 * np.array(INPUT[key], np.float32).reshape(3, 1, 1, 1) for key in ("mean", "std"))
    views = []
    for clip in clips:
        for crop in range(num_crops):
            pixels = np.stack([images[number][crop] for number in clip]).transpose(3, 0, 1, 2)  # (3, T, S, S)
            views.append(network(((pixels - mean) / std)[None])[0].astype(np.float64))
    logits = np.stack(views)
    if SCORES["kind"] == "sigmoid":
        scores = (1 / (1 + np.exp(-logits))).mean(0)
        powers = np.stack([scores, 1 - scores]) ** (1 / SCORES["temperature"])
        return (powers / powers.sum(0))[0]
    powers = np.exp(logits - logits.max(1, keepdims=True))
    scores = (powers / powers.sum(1, keepdims=True)).mean(0) ** (1 / SCORES["temperature"])
    return scores / scores.sum()


def main(paths):
    """Print the five best classes of each video, one per line: path, label, score."""
    network = load_network()
    for path in paths:
        scores = score(network, path)
        for label in (-scores).argsort(kind="stable")[:5]:
            print(path, CONFIG["classes"][label], f"{scores[label]:.6f}", sep="\t")


if __name__ == "__main__":
    main(sys.argv[1:])
