"""Which frames a video file has and when each is shown, from its packets alone: nothing is decoded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from smallbignet.data.containers import form_of, is_cut_short, is_shown, read_packets, stores_times
from smallbignet.data.limits import Limits


@dataclass
class Numbering:
    """The frames of a video file.

    Attributes:
        num_frames: number of frames that are shown.
        claimed_frames: number of frames that there should be; above `num_frames` for a file that was cut short.
        times: when each frame is shown, ascending, in units of the stream's time base.
        number: the frame that is shown at a time; None where the container's times can't be trusted.
        keys: when the key frames are shown, ascending.
        starts_with_key: whether the first packet holds a key frame. If not, the file was cut out of a longer one.
        first_packet_carries_more: whether something else comes with the first packet that the decoder needs, such as a palette.
    """

    num_frames: int
    claimed_frames: int
    times: list[int]
    number: dict[int, int] | None
    keys: list[int]
    starts_with_key: bool
    first_packet_carries_more: bool

    def seconds(self, unit: Fraction) -> np.ndarray:
        """When each frame is shown, in seconds from the first: (num_frames,) float64.

        Args:
            unit: the stream's time base.
        """
        first = self.times[0]
        return np.array([time - first for time in self.times], np.float64) * float(unit)

    def begin_at(self, first: int) -> None:
        """Leaves out the frames before a frame, which gets the number 0."""
        self.times = self.times[first:]
        self.number = {time: i for i, time in enumerate(self.times)}
        self.num_frames -= first
        self.claimed_frames -= first


def read_numbering(path: str, container: InputContainer, stream: VideoStream, limits: Limits) -> Numbering:
    """Reads all packets of a stream, and numbers the frames by their times of showing, where these can be trusted.

    Raises:
        VideoError: there are too many.
    """
    shown: list[int] = []
    keys: list[int] = []
    num_frames = hidden = 0
    first = last = None
    codec = stream.codec_context.name
    for packet in read_packets(container, stream):
        if packet is None:
            break
        last = packet
        first = first or packet
        if packet.is_keyframe and packet.pts is not None:
            keys.append(packet.pts)
        if is_shown(packet, codec):
            num_frames += 1
            if packet.pts is not None:
                shown.append(packet.pts)
        else:
            hidden += 1
        limits.check_frames(num_frames + hidden, path)
    times = sorted(set(shown))
    # Without B-frames, a decoder returns frames as they are stored, so that times that go backwards are wrong.
    is_in_order = times == shown or stream.codec_context.has_b_frames
    timed = stores_times(container) and is_in_order and 0 < len(times) == num_frames
    claimed = num_frames
    if is_cut_short(path, form_of(container)) or (last is not None and last.is_corrupt):
        claimed = max(claimed, _promised(stream, times, hidden))
    return Numbering(
        num_frames=num_frames,
        claimed_frames=claimed,
        times=times,
        number={time: i for i, time in enumerate(times)} if timed else None,
        keys=sorted(keys),
        starts_with_key=first is not None and first.is_keyframe,
        first_packet_carries_more=first is not None and _carries_more(first),
    )


def _promised(stream: VideoStream, times: list[int], hidden: int) -> int:
    """How many frames the header of a file says that it has; Matroska's says only how long it lasts."""
    duration = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    if stream.frames or not duration or not times:
        return stream.frames - hidden
    hours, minutes, seconds = map(float, duration.groups())
    missing = hours * 3600 + minutes * 60 + seconds - times[-1] * float(stream.time_base or 0)
    return len(times) + max(0, round(missing * float(stream.average_rate or 0)) - 1)


def _carries_more(packet: Packet[VideoStream]) -> bool:
    return packet.has_sidedata("palette") or packet.has_sidedata("new_extradata") or packet.has_sidedata("param_change")
