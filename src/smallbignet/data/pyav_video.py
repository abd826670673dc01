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

import errno
import struct
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import chain, islice
from typing import Any

import av
import numpy as np
import torch
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor

from smallbignet.data.containers import is_shown, open_stream, pixel_ratio, read_packets
from smallbignet.data.frames import Video
from smallbignet.data.limits import Limits
from smallbignet.data.numbering import read_numbering
from smallbignet.errors import VideoError

LEAD = 2  # packets at the start of a file that tell whether it begins with frames that don't decode


class _OutOfOrder(Exception):
    """The decoder returned other frames than the packets promised."""


class PyAVVideo(Video):
    """A video file decoded by the FFmpeg that is part of PyAV.

    Args:
        threads: threads that decode.
        limits: the largest video that is read.
        square_pixels: widen or narrow frames whose pixels are not shown square, as on many discs and tapes.
    """

    _container: InputContainer
    _stream: VideoStream
    _packets: Iterator[Packet[VideoStream] | None]
    _decoder: Iterator[tuple[int, VideoFrame]]  # continues after the last frame
    _last: VideoFrame | None  # the last frame that was decoded, None right after a seek
    _at: int  # its number
    _wanted: Sequence[int] = ()  # the numbers being read, in order
    _skips: bool = True  # whether frames may be skipped
    _skipped: set[int]  # frames that the decoder was allowed to skip since it started, if no other frame needs them
    _begins_late: bool = False  # whether what comes before the first frame that decodes has no number
    _error: str = ""  # what FFmpeg said of the last packet that did not decode, since the decoder started
    _counted: int  # frames that had numbers when the decoder came to the end
    _seconds: float = 0.0  # spent on decoding since frames were last asked for
    _size: tuple[int, int]  # width and height of the frames before they are turned upright

    def __init__(self, path: str, threads: int = 1, limits: Limits = Limits(), square_pixels: bool = True):
        self.path = path
        self._threads = threads
        self._limits = limits
        self._reformatter = VideoReformatter()
        self._open()
        try:
            self.fps = float(self._stream.average_rate or 0)
            self._numbering = read_numbering(path, self._container, self._stream, limits)
            first = self._decode_first_frame()
            self.num_frames = self._numbering.num_frames
            self.claimed_frames = self._numbering.claimed_frames
            ratio = pixel_ratio(self._stream) if square_pixels else 1
            width = max(1, round(first.width * ratio))
            limits.check_size(width, first.height, path)
            self._size = (width, first.height)
            self.height, self.width = upright(torch.empty(first.height, width), first).shape
        except BaseException:
            self.close()
            raise

    @property
    def times(self) -> np.ndarray:
        unit = self._stream.time_base
        return super().times if self._numbering.number is None or not unit else self._numbering.seconds(unit)

    def close(self) -> None:
        self._container.close()

    def whole_frames(self) -> int:
        return sum(1 for _ in self.stored_frames())

    def stored_frames(self) -> Iterator[tuple[Fraction, VideoFrame]]:
        """Reads every undamaged frame once, as it is stored (`upright` turns it), with its time in seconds from the first.

        Where the times in the container can't be trusted, frames follow at the mean rate, or at 25 per second without one.
        """
        unit = self._stream.time_base if self._numbering.number is not None else None
        rate = Fraction(self._stream.average_rate or 25)
        times = self._numbering.times
        self._seconds = 0.0
        self._start(None)
        for number, frame in self._decoder:
            if number < self.num_frames and not frame.is_corrupt:
                yield (times[number] - times[0]) * unit if unit else number / rate, frame

    def _open(self) -> None:
        self._container, self._stream = open_stream(self.path, self._limits)
        self._stream.thread_type = "SLICE"  # frame threads can deadlock beside torch's, and block readers that stop early
        self._stream.thread_count = self._threads

    def _decode_first_frame(self) -> VideoFrame:
        """Decodes the first frame. Before it, a file that was cut out of a longer one may have packets without a number."""
        if self._numbering.number is not None:
            first = self._begin_in_time()
            if self._numbering.number is not None:
                return first
        else:
            self._start(None)
            if self._begins_whole():
                self._at, self._last = self._decode_next()
                return self._last
        return self._count_frames()

    def _begin_in_time(self) -> VideoFrame:
        """Decodes the first frame of a file with trusted times. Turns to counting where the first frames are not in order."""
        numbering = self._numbering
        decoded = None
        if not numbering.first_packet_carries_more:
            with suppress(_OutOfOrder):
                self._start(self._key_before(0))  # a seek takes less time than opening the file again
                decoded = next(self._decoder, None)
        if decoded is None:
            self._start(None)
            decoded = self._decode_next()
        self._at, self._last = decoded
        is_damaged = self._error and numbering.starts_with_key
        if self._at > 0 and not is_damaged:
            numbering.begin_at(self._at)
            self._start(None)
            for _ in islice(self._decoder, LEAD):
                pass
            self._last = None
        return decoded[1]

    def _decode_next(self) -> tuple[int, VideoFrame]:
        """The next frame that decodes, of a file that should have at least one."""
        decoded = next(self._decoder, None)
        if decoded is None:
            raise VideoError(f"no frame of it can be decoded{self._error}", self.path)
        return decoded

    def _begins_whole(self) -> bool:
        """Whether the first two packets give a frame each; the decoder is before them again after this.

        Asked where there are no times to tell. Packets that don't decode come first in a file that starts between two key
        frames, or right after the first key frame, if their frames are shown before it. Other packets hold half a frame.
        """
        codec = self._stream.codec_context
        if not self._numbering.starts_with_key:
            return False
        if not codec.has_b_frames:
            return True
        lead = list(islice(self._packets, LEAD))
        expected = sum(1 for packet in lead if packet and is_shown(packet, codec.name))
        found = 0
        try:
            for packet in [*filter(None, lead), None]:
                found += len(self._decode_packet(packet))
        except av.FFmpegError:  # it was not cut, but damaged
            found = expected
        codec.flush_buffers()
        self._decoder = self._decode(chain(lead, self._packets), 0, None)
        return found >= expected

    def _count_frames(self) -> VideoFrame:
        """Numbers the frames that come out when the whole file is decoded, and returns the first."""
        numbering = self._numbering
        numbering.number = None
        self._begins_late = True
        self._start(None)
        _, first = self._decode_next()
        for _ in self._decoder:
            pass
        numbering.num_frames = numbering.claimed_frames = self._counted
        return first

    def _read(self, wanted: Sequence[int]) -> Iterator[Tensor]:
        self._seconds = 0.0
        for index in wanted:
            self._wanted = wanted  # another read may have begun since
            yield self._rgb(index, self._frame(index))

    def _rgb(self, index: int, frame: VideoFrame) -> Tensor:
        try:
            rgb = self._reformatter.reformat(frame, *self._size, "rgb24", threads=self._threads).to_ndarray()
        except av.FFmpegError as error:
            raise VideoError(f"frame {index} can't be converted to RGB: {error.strerror}", self.path) from None
        return upright(torch.from_numpy(rgb).permute(2, 0, 1), frame)

    def _frame(self, index: int) -> VideoFrame:
        """Decodes a frame: at first the fast way, then without skipping frames, then from the start of the file.

        Frames that come out in another order than that of their times are counted from then on.
        """
        keys = self._numbering.keys
        is_timed = self._numbering.number is not None
        while (frame := self._reach(index)) is None:
            if self._skipped:
                self._skips = False
            elif self._key_before(index) is not None:
                self._numbering.keys = []
            elif is_timed and self._is_out_of_order():
                is_timed = False
            else:
                self._numbering.keys = keys  # seeks are not to blame
                raise VideoError(f"frame {index} of {self.num_frames} can't be decoded{self._error}", self.path)
        return frame

    def _reach(self, index: int) -> VideoFrame | None:
        """Decodes on to a frame from where the decoder is, or from the last key frame before it if that is nearer."""
        key = self._key_before(index)
        try:
            if self._last is None or not self._first(key) - 1 <= self._at <= index or index in self._skipped:
                self._start(key)
            while self._at < index and (decoded := next(self._decoder, None)):
                self._at, self._last = decoded
        except _OutOfOrder:
            self._at = -1
        found = self._last if self._at == index else None
        self._last = found
        return found

    def _is_out_of_order(self) -> bool:
        """Decodes on to the end, and returns whether frames came out in another order than that of their times."""
        for _ in self._decoder:
            pass
        return self._numbering.number is None

    def _key_before(self, index: int) -> int | None:
        """The time at which the last key frame at or before a frame is shown; None without one, or without trusted times."""
        numbering = self._numbering
        passed = bisect_right(numbering.keys, numbering.times[index]) if numbering.number else 0
        return numbering.keys[passed - 1] if passed else None

    def _first(self, key: int | None) -> int:
        """The first frame that is shown at or after a key frame, or the first of the file."""
        return 0 if key is None else bisect_left(self._numbering.times, key)

    def _start(self, key: int | None) -> None:
        """Goes to the key frame that is shown at a time, or to the start of the file."""
        self._at = self._first(key) - 1
        self._last = None
        self._skipped = set()
        self._error = ""
        if key is None:
            self.close()
            self._open()
        else:
            try:
                self._container.seek(key, stream=self._stream)
            except av.FFmpegError:
                raise _OutOfOrder from None
        self._packets = read_packets(self._container, self._stream)
        self._decoder = self._decode(self._packets, self._first(key), key)

    def _decode(
        self, packets: Iterator[Packet[VideoStream] | None], first: int, key: int | None
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Decodes packets, the first of which is before frame `first`; yields the frames that decode, with their numbers."""
        count = following = first
        fresh = True  # no frame was returned yet
        broken = False  # a packet did not decode, and no key frame came since
        counts = not self._begins_late
        codec = self._stream.codec_context
        marked = key is not None and codec.name == "h264"
        numbering = self._numbering
        for packet in packets:
            if marked and packet is not None:
                codec.skip_frame = "NONREF" if self._skip(packet) else "DEFAULT"
            try:
                frames = self._decode_packet(packet)
            except av.FFmpegError as error:
                self._error = f": {error.strerror}"
                broken = True
                count += counts  # the frame of this packet has a number, although it is missing
                continue
            for frame in frames:
                number = count
                if numbering.number is not None:
                    number = -1 if frame.pts is None else numbering.number.get(frame.pts, -1)
                    # Stored after the key frame and shown before it: predicted from frames that were not decoded.
                    if 0 <= number < first:
                        continue
                    # The first frame must be the key frame's, or the first shown after it if an edit list hides that.
                    astray = fresh and key is not None and (number > first or (frame.pts == key and not frame.key_frame))
                    if number < 0 or ((number < following or astray) and not broken):
                        if key is not None:
                            raise _OutOfOrder
                        numbering.number = None
                        number = count
                following = number + 1
                fresh = False
                # After damage, a decoder invents frames until the next key frame.
                broken = broken and not frame.key_frame
                counts = counts or not broken
                count += counts
                if not broken:
                    yield number, frame
        self._counted = count

    def _decode_packet(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        """The frames that come out of the decoder when a packet goes in.

        Raises:
            av.FFmpegError: the packet does not decode.
            VideoError: decoding takes too long, or the frames are too large.
        """
        start = time.perf_counter()
        try:
            frames = self._stream.decode(packet)
        except av.FFmpegError as error:
            if error.errno == errno.EINVAL and not self._stream.codec_context.width:
                raise self._limits.too_large("or of no size", self.path) from None
            raise
        finally:
            self._seconds += time.perf_counter() - start
            if self._seconds > self._limits.max_seconds:
                self._limits.check_seconds(self._seconds, self.path)
        for frame in frames:
            self._limits.check_size(frame.width, frame.height, self.path)  # which may change on the way
        return frames

    def _skip(self, packet: Packet[VideoStream]) -> bool:
        """Whether a packet's frame is not wanted, and a later one is. Frames after the last wanted one may be wanted next."""
        number = self._numbering.number.get(packet.pts, -1) if self._numbering.number and packet.pts is not None else -1
        following = bisect_left(self._wanted, number)
        skip = self._skips and 0 <= number and following < len(self._wanted) and self._wanted[following] != number
        if skip:
            self._skipped.add(number)
        return skip


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
