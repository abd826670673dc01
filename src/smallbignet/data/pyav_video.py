"""Frames by number out of a video file, by PyAV (FFmpeg), without decoding the whole file.

Frame i is the i-th frame that is shown: the i-th that comes out when the whole file is decoded from its start. Getting exactly
that frame is less simple than it looks:

- packets are stored in decoding order and shown in another order (B-frames), at uneven times, from any start;
- edit lists keep packets that must be decoded and not shown;
- a decoder can start at key frames only, and frames stored after a key frame may be shown before it (open GOP);
- headers claim too many frames, none, or no duration; some containers store no times of showing at all.

So the packets are read once without decoding, their times of showing are sorted, and the frames are numbered by them. For a
wanted frame, decoding starts at the last key frame that is shown at or before it. On the way, frames that no other frame is
predicted from are skipped (H.264 marks them). What comes out is checked against the numbering. Where the two disagree, nothing
is skipped; if they still disagree, or the container's times can't be trusted, the file is decoded from its start and the frames
are counted.

A video is opened in the process that reads it: a decoder does not survive a fork.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av
import torch
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor

from smallbignet.data.frames import Video
from smallbignet.errors import VideoError

# The containers that store when each frame is shown, by FFmpeg's first name for them. In the others (AVI, raw streams, ...)
# some or all of these times are FFmpeg's guesses.
_TIMED = ("mov", "matroska")


def conversion(threads: int = 1) -> dict[str, Any]:
    """Options for PyAV's conversions of size and format.

    Since PyAV 17, they start a thread for every core unless told otherwise; before, they had no option for threads.
    """
    return {"threads": threads} if int(av.__version__.split(".")[0]) >= 17 else {}


class _OutOfOrder(Exception):
    """The decoder returned other frames than the packets promised."""


class PyAVVideo(Video):
    """A video file decoded by the FFmpeg that is part of PyAV."""

    _container: InputContainer
    _stream: VideoStream
    _times: list[int]  # when each frame is shown, in order
    _number: dict[int, int] | None  # the frame shown at a time; None: times can't be trusted, so count
    _keys: list[int]  # when the key frames are shown, in order
    _decoder: Iterator[tuple[int, VideoFrame]]  # continues after the last frame
    _last: VideoFrame | None  # the last frame that was decoded, None right after a seek
    _at: int  # its number
    _wanted: Sequence[int] = ()  # the numbers being read, in order
    _skips: bool = True  # whether frames may be skipped
    _skipped: set[int]  # frames that the decoder was allowed to skip since it started, if no other frame needs them

    def __init__(self, path: str, threads: int = 1):
        self.path = path
        self._threads = threads
        self._error = ""  # what FFmpeg said of the last packet that did not decode
        self._reformatter = VideoReformatter()
        self._convert = conversion(threads)
        self._open()
        try:
            self._number_frames()
            self._decode_first_frame()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._container.close()

    def whole_frames(self) -> int:
        return sum(1 for _ in self.stored_frames())

    def stored_frames(self) -> Iterator[tuple[Fraction, VideoFrame]]:
        """Reads every undamaged frame once, as it is stored (`upright` turns it), with its time in seconds from the first.

        Where the times in the container can't be trusted, frames follow at the mean rate, or at 25 per second without one.
        """
        unit = self._stream.time_base if self._number is not None else None
        rate = Fraction(self._stream.average_rate or 25)
        self._start(None)
        for number, frame in self._decoder:
            if number < self.num_frames and not frame.is_corrupt:
                yield (self._times[number] - self._times[0]) * unit if unit else number / rate, frame

    def _open(self) -> None:
        try:
            self._container = _open_container(self.path)
        except av.FFmpegError as error:
            raise VideoError(f"FFmpeg can't open it as a video: {error.strerror}", self.path) from None
        stream = self._container.streams.best("video")
        if not isinstance(stream, VideoStream):
            problem = "there is no video in it"
        elif stream.disposition & Disposition.attached_pic:
            problem = "there is no video in it, only a cover picture"
        elif stream.codec_context is None:
            problem = "FFmpeg has no decoder for its video"
        else:
            self._stream = stream
            stream.thread_type = "SLICE"  # frame threads can deadlock beside torch's, and block readers that stop early
            stream.thread_count = self._threads
            return
        self.close()
        raise VideoError(problem, self.path)

    def _number_frames(self) -> None:
        """Reads all packets, decodes none, and numbers the frames by their times of showing, where these can be trusted."""
        stream = self._stream
        container = self._container.format.name.split(",")[0]
        shown: list[int | None] = []
        keys: list[int] = []
        hidden = 0
        is_cut = False
        is_vp8 = stream.codec_context.name == "vp8"
        for packet in _packets(self._container, stream):
            if packet is None:
                break
            is_cut = packet.is_corrupt
            if packet.is_keyframe and packet.pts is not None:
                keys.append(packet.pts)
            # Edit lists have packets that are decoded and not shown; VP8 has frames that only help to predict others.
            if packet.is_discard or (is_vp8 and not memoryview(packet)[0] & 0x10):
                hidden += 1
            else:
                shown.append(packet.pts)
        self._keys = sorted(keys)
        self._times = sorted({pts for pts in shown if pts is not None})
        timed = _stores_times(self._container) and 0 < len(self._times) == len(shown)
        self._number = {pts: i for i, pts in enumerate(self._times)} if timed else None
        self.num_frames = len(shown)
        self.fps = float(stream.average_rate or 0)

        self.claimed_frames = max(stream.frames - hidden, 0)
        if container == "mov" and not is_cut:  # an edit list left out what is missing, on purpose
            self.claimed_frames = self.num_frames
        duration = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
        if container == "matroska" and timed and duration:  # Matroska does not count frames
            hours, minutes, seconds = map(float, duration.groups())
            missing = hours * 3600 + minutes * 60 + seconds - self._times[-1] * float(stream.time_base or 0)
            self.claimed_frames = self.num_frames + (max(0, round(missing * self.fps) - 1) if missing > 1 else 0)

    def _decode_first_frame(self) -> None:
        """Finds the size of the frames. Frames that should be shown before the first that decodes don't count as frames."""
        decoded = None
        with suppress(_OutOfOrder):
            self._start(self._key_before(0))  # a seek takes less time than opening the file again
            decoded = next(self._decoder, None)
        if decoded is None:
            self._start(None)
            decoded = next(self._decoder, None)
        if decoded is None:
            raise VideoError(f"no frame of it can be decoded{self._error}", self.path)
        self._at, self._last = decoded
        self._convert |= {"format": "rgb24", "width": self._last.width, "height": self._last.height}
        self.height, self.width = upright(torch.empty(self._last.height, self._last.width), self._last).shape
        if self._number and self._at > 0 and not self._error:  # this file was cut out of a longer one, at an open GOP
            self._times = self._times[self._at :]
            self._number = {pts: i for i, pts in enumerate(self._times)}
            self.num_frames = len(self._times)
            self._start(None)

    def _read(self, wanted: Sequence[int]) -> Iterator[Tensor]:
        for index in wanted:
            self._wanted = wanted  # another read may have begun since
            yield self._rgb(index, self._frame(index))

    def _rgb(self, index: int, frame: VideoFrame) -> Tensor:
        try:
            rgb = self._reformatter.reformat(frame, **self._convert).to_ndarray()
        except av.FFmpegError as error:
            raise VideoError(f"frame {index} can't be converted to RGB: {error.strerror}", self.path) from None
        return upright(torch.from_numpy(rgb).permute(2, 0, 1), frame)

    def _frame(self, index: int) -> VideoFrame:
        """Decodes on to a frame from where the decoder is, or from the last key frame before it if that is nearer."""
        key = self._key_before(index)
        try:
            if self._last is None or not self._first(key) - 1 <= self._at <= index or index in self._skipped:
                self._start(key)
            while self._at < index and (decoded := next(self._decoder, None)):
                self._at, self._last = decoded
            if self._at != index and self._skipped:
                raise _OutOfOrder
        except _OutOfOrder:
            if self._skipped:
                self._skips = False
            else:
                self._number = None
            self._last = None
            return self._frame(index)
        if self._last is None or self._at != index:
            raise VideoError(f"frame {index} of {self.num_frames} can't be decoded{self._error}", self.path)
        return self._last

    def _key_before(self, index: int) -> int | None:
        """The time at which the last key frame at or before a frame is shown; None without one, or without trusted times."""
        passed = bisect_right(self._keys, self._times[index]) if self._number else 0
        return self._keys[passed - 1] if passed else None

    def _first(self, key: int | None) -> int:
        """The first frame that is shown at or after a key frame, or the first of the file."""
        return 0 if key is None else bisect_left(self._times, key)

    def _start(self, key: int | None) -> None:
        """Goes to the key frame that is shown at a time, or to the start of the file."""
        self._at = self._first(key) - 1
        self._last = None
        self._skipped = set()
        if key is None:
            self.close()
            self._open()
        else:
            try:
                self._container.seek(key, stream=self._stream)
            except av.FFmpegError:
                raise _OutOfOrder from None
        self._decoder = self._decode(self._first(key), key)

    def _decode(self, first: int, key: int | None) -> Iterator[tuple[int, VideoFrame]]:
        """Decodes from where the container is, before frame `first`; yields the frames that decode, with their numbers."""
        count = following = first
        fresh = True  # no frame was returned yet
        broken = False  # a packet did not decode, and no key frame came since
        codec = self._stream.codec_context
        marked = key is not None and codec.name == "h264"
        for packet in _packets(self._container, self._stream):
            if marked and packet is not None:
                codec.skip_frame = "NONREF" if self._skip(packet) else "DEFAULT"
            try:
                frames = self._stream.decode(packet)
            except av.FFmpegError as error:
                self._error = f": {error.strerror}"
                broken = True
                count += 1  # the frame of this packet has a number, although it is missing
                continue
            for frame in frames:
                number = count
                if self._number is not None:
                    number = -1 if frame.pts is None else self._number.get(frame.pts, -1)
                    # Stored after the key frame and shown before it: predicted from frames that were not decoded.
                    if 0 <= number < first:
                        continue
                    # The first frame must be the key frame's, or the first shown after it if an edit list hides that.
                    astray = fresh and key is not None and (number > first or (frame.pts == key and not frame.key_frame))
                    if number < 0 or ((number < following or astray) and not broken):
                        if key is not None:
                            raise _OutOfOrder
                        self._number = None
                        number = count
                count += 1
                following = number + 1
                fresh = False
                # After damage, a decoder invents frames until the next key frame.
                broken = broken and not frame.key_frame
                if not broken:
                    yield number, frame

    def _skip(self, packet: Packet[VideoStream]) -> bool:
        """Whether a packet's frame is not wanted, and a later one is. Frames after the last wanted one may be wanted next."""
        number = self._number.get(packet.pts, -1) if self._number and packet.pts is not None else -1
        following = bisect_left(self._wanted, number)
        skip = self._skips and 0 <= number and following < len(self._wanted) and self._wanted[following] != number
        if skip:
            self._skipped.add(number)
        return skip


def _open_container(path: str) -> InputContainer:
    # The prefix keeps a colon in a name from being read as a protocol; the whitelist keeps playlists off the network; titles
    # may have any encoding.
    return av.open(f"file:{path}", metadata_errors="replace", options={"protocol_whitelist": "file"})


def stores_times(path: str) -> bool:
    """Whether a file's container stores when each frame is shown; False for a file that can't be opened."""
    with suppress(av.FFmpegError), _open_container(path) as container:
        return _stores_times(container)
    return False


def _stores_times(container: InputContainer) -> bool:
    return container.format.name.split(",")[0] in _TIMED


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream] | None]:
    """A stream's packets, then None, which makes a decoder return what it still holds. A file that was cut short just ends."""
    try:
        for packet in container.demux(stream):
            if packet.size:  # an empty one would end the decoding
                yield packet
    except (av.FFmpegError, IndexError):  # IndexError: PyAV's end of a file where streams appeared on the way
        pass
    yield None


def upright(image: Tensor, frame: VideoFrame) -> Tensor:
    """Turns and mirrors an image (..., H, W) as its frame is meant to be shown, to the nearest quarter turn."""
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # the frame has side data of a kind that this PyAV does not know
        return image.rot90(round(frame.rotation / 90), (-2, -1))
    if matrix is None:
        return image
    # A pixel (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d = struct.unpack_from("5i", bytes(matrix))
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.transpose(-2, -1), c, b
    return image.flip([dim for dim, scale in ((-1, a), (-2, d)) if scale < 0])
