"""One way to get frames out of a video: a file (PyAV, or torchcodec where it is installed) or a folder of frames.

Frame i is the i-th frame that is shown: the i-th that decoding the whole file from its start gives. Getting exactly that
frame without decoding the whole file is the work of `PyAVVideo`, and is less simple than it looks:

- packets are stored in decoding order and shown in another (B-frames), at uneven times, from any start;
- edit lists keep packets that must be decoded and not shown;
- a decoder can start at key frames only, and frames stored after a key frame may be shown before it (open GOP);
- headers claim too many frames, none, or no duration; some containers know no time of showing at all.

So: read the packets once without decoding, sort their times of showing, and number the frames by that. For a wanted frame
go to the last key frame shown at or before it and decode on, but for frames on the way that no other is predicted from
(H.264 marks them). What comes out is checked against the numbering. Where the two disagree, skip nothing; if they still do,
or the container's times can't be trusted, decode from the start and count.

Open a video in the process that reads it: a decoder does not survive a fork.
"""

from __future__ import annotations

import io
import os
import re
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
import torch
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor

from smallbignet.data.frames import FrameFolder, Video
from smallbignet.errors import SmallBigError, VideoError

VIDEO_EXTENSIONS = frozenset(
    ".3gp .asf .avi .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .vob .webm .wmv".split()
)

# The containers that store when each frame is shown, by FFmpeg's first name for them. In the others (AVI, raw streams, ...)
# some or all of these times are FFmpeg's guesses.
_TIMED = ("mov", "matroska")


def open_video(path: str | os.PathLike[str], backend: str = "auto", filename_tmpl: str = "", threads: int = 1) -> Video:
    """Open a video file, or a folder of frames.

    Args:
        path: a video file, or a folder that holds one video's frames as images.
        backend: what decodes a file: "pyav" (which "auto" means) or "torchcodec", which is installed separately and used
            for MP4, MOV, Matroska and WebM: it misnumbers the frames of AVI and MPEG files, so those go to PyAV still.
        filename_tmpl: the name of a folder's frames, such as "img_{:05d}.jpg"; found out where empty (see `FrameFolder`).
        threads: threads that decode a file. One is right where many processes read.

    Raises:
        VideoError: it is missing, empty, has no video, or nothing of it can be decoded.
        SmallBigError: there is no such backend, or torchcodec doesn't work here.
    """
    path = os.fspath(path)
    if backend not in ("auto", "pyav", "torchcodec"):
        raise SmallBigError("the backend is one of auto, pyav, torchcodec", backend)
    if os.path.isdir(path):
        return FrameFolder(path, filename_tmpl)
    if not os.path.isfile(path):  # also keeps out pipes and addresses, which could wait forever
        raise VideoError("there is no such file", path)
    if os.path.getsize(path) == 0:
        raise VideoError("the file is empty", path)
    if backend == "torchcodec":
        if not is_torchcodec_available():
            what = "torchcodec doesn't work here: it needs `pip install torchcodec` and FFmpeg's shared libraries on the system"
            raise SmallBigError(f"{what} (Debian, Ubuntu: apt-get install ffmpeg)", backend)
        with suppress(av.FFmpegError), _open_container(path) as container:
            if _stores_times(container):
                return TorchCodecVideo(path, threads)
    return PyAVVideo(path, threads)


def conversion(threads: int = 1) -> dict[str, Any]:
    """Options of PyAV's conversions of size and format, which since PyAV 17 start a thread for every core unless told
    otherwise; before, they knew no threads."""
    return {"threads": threads} if int(av.__version__.split(".")[0]) >= 17 else {}


class _OutOfOrder(Exception):
    """The decoder's frames are not the ones that the packets promised."""


class PyAVVideo(Video):
    """A video file decoded by the FFmpeg that PyAV brings along."""

    _container: InputContainer
    _stream: VideoStream
    _times: list[int]  # when each frame is shown, in order
    _number: dict[int, int] | None  # the frame shown at a time; None: times can't be trusted, so count
    _keys: list[int]  # when the key frames are shown, in order
    _decoder: Iterator[tuple[int, VideoFrame]]  # goes on from where the last frame left it
    _last: VideoFrame | None  # the frame last decoded, None right after a seek
    _at: int  # its number
    _wanted: Sequence[int] = ()  # the numbers being read, in order
    _skips: bool = True  # whether frames may be skipped
    _skipped: set[int]  # what the decoder was told to skip since it started, if nothing refers to it

    def __init__(self, path: str, threads: int = 1):
        self.path = path
        self._threads = threads
        self._error = ""  # FFmpeg's last word on a packet that did not decode
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
        """Read every frame once, as it is stored (`upright` turns it), without the damaged ones; each with its seconds from
        the first, where the container's times can't be trusted at the mean rate (25 if that is unknown, too)."""
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
        """Read all packets, decode none, and number the frames by their time of showing, where it can be known."""
        stream, container = self._stream, self._container.format.name.split(",")[0]
        shown: list[int | None] = []
        keys, hidden, cut = [], 0, False
        is_vp8 = stream.codec_context.name == "vp8"
        for packet in _packets(self._container, stream):
            if packet is None:
                break
            cut = packet.is_corrupt
            if packet.is_keyframe and packet.pts is not None:
                keys.append(packet.pts)
            # An edit list has packets decoded and not shown; VP8 has frames that only serve to predict others.
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
        if container == "mov" and not cut:  # what is not there was left out by an edit list, on purpose
            self.claimed_frames = self.num_frames
        duration = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
        if container == "matroska" and timed and duration:  # it does not count frames
            hours, minutes, seconds = map(float, duration.groups())
            missing = hours * 3600 + minutes * 60 + seconds - self._times[-1] * float(stream.time_base or 0)
            self.claimed_frames = self.num_frames + (max(0, round(missing * self.fps) - 1) if missing > 1 else 0)

    def _decode_first_frame(self) -> None:
        """Find the size. Frames said to be shown before the first that decodes are no frames of this video."""
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
        if self._number and self._at > 0 and not self._error:  # cut out of a longer video, at an open GOP
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
        """Decode on to a frame from where the decoder is, or from the last key frame before it if that is nearer."""
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
        """When the last key frame at or before a frame is shown; None if there is none, or times can't be trusted."""
        passed = bisect_right(self._keys, self._times[index]) if self._number else 0
        return self._keys[passed - 1] if passed else None

    def _first(self, key: int | None) -> int:
        """The first frame shown from a key frame on, or of the file."""
        return 0 if key is None else bisect_left(self._times, key)

    def _start(self, key: int | None) -> None:
        """Go to the key frame that is shown at a time, or to the start of the file."""
        self._at, self._last, self._skipped = self._first(key) - 1, None, set()
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
        """Decode from where the container stands, before frame `first`; yield the frames that decode, with their numbers."""
        count, following, fresh, broken = first, first, True, False
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
                count += 1  # the frame that would have come of this packet has its number, too
                continue
            for frame in frames:
                number = count
                if self._number is not None:
                    number = -1 if frame.pts is None else self._number.get(frame.pts, -1)
                    # Stored after the key frame, shown before it: built on frames that were skipped.
                    if 0 <= number < first:
                        continue
                    # The first frame must be the key frame's, or the first shown after it if an edit list hides that.
                    astray = fresh and key is not None and (number > first or (frame.pts == key and not frame.key_frame))
                    if number < 0 or ((number < following or astray) and not broken):
                        if key is not None:
                            raise _OutOfOrder
                        self._number, number = None, count
                count, following, fresh = count + 1, number + 1, False
                # After damage a decoder makes frames up, until the next key frame.
                broken = broken and not frame.key_frame
                if not broken:
                    yield number, frame

    def _skip(self, packet: Packet[VideoStream]) -> bool:
        """Whether a packet's frame only lies before a wanted one. Those after the last may be asked for next."""
        number = self._number.get(packet.pts, -1) if self._number and packet.pts is not None else -1
        following = bisect_left(self._wanted, number)
        skip = self._skips and 0 <= number and following < len(self._wanted) and self._wanted[following] != number
        if skip:
            self._skipped.add(number)
        return skip


def _open_container(path: str) -> InputContainer:
    # The prefix keeps a colon in a name from being read as a protocol; the list keeps playlists off the network; titles
    # come in any encoding.
    return av.open(f"file:{path}", metadata_errors="replace", options={"protocol_whitelist": "file"})


def _stores_times(container: InputContainer) -> bool:
    return container.format.name.split(",")[0] in _TIMED


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream] | None]:
    """A stream's packets, then None, which makes a decoder give what it still holds. A file cut short just ends."""
    try:
        for packet in container.demux(stream):
            if packet.size:  # an empty one would end the decoding
                yield packet
    except (av.FFmpegError, IndexError):  # IndexError: PyAV's end of a file where streams appeared on the way
        pass
    yield None


def upright(image: Tensor, frame: VideoFrame) -> Tensor:
    """Turn and mirror an image (..., H, W) the way that its frame is to be shown, to the nearest quarter turn."""
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # the frame carries side data of a kind that this PyAV has no name for
        return image.rot90(round(frame.rotation / 90), (-2, -1))
    if matrix is None:
        return image
    # A pixel (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d = struct.unpack_from("5i", bytes(matrix))
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.transpose(-2, -1), c, b
    return image.flip([dim for dim, scale in ((-1, a), (-2, d)) if scale < 0])


@cache
def is_torchcodec_available() -> bool:
    """Whether torchcodec decodes a tiny video here; without FFmpeg's shared libraries it can be imported and yet fails."""
    try:
        from torchcodec.decoders import VideoDecoder

        VideoDecoder(_tiny_video()).get_frame_at(0)
    except Exception:  # which one depends on what is missing
        return False
    return True


def _tiny_video() -> bytes:
    """An MP4 file of one black frame."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        frame = VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode()])
    return file.getvalue()


class TorchCodecVideo(Video):
    """A video file decoded by torchcodec. Turned upright, but not mirrored where the file asks for that."""

    def __init__(self, path: str, threads: int = 1):
        from torchcodec.decoders import VideoDecoder

        self.path = path
        try:
            self._decoder = VideoDecoder(os.path.abspath(path), num_ffmpeg_threads=threads)  # a bare name may look like a URL
            _, self.height, self.width = self._decoder.get_frame_at(0).data.shape
        except (RuntimeError, ValueError, IndexError):
            raise VideoError("torchcodec can't read any video from it", path) from None
        self.num_frames = len(self._decoder)
        self.claimed_frames = 0
        self.fps = float(self._decoder.metadata.average_fps or 0)

    def _read(self, wanted: Sequence[int]) -> Iterator[Tensor]:
        return map(self._rgb, wanted)

    def _rgb(self, index: int) -> Tensor:
        try:
            return self._decoder.get_frame_at(index).data
        except (RuntimeError, IndexError):
            raise VideoError(f"frame {index} of {self.num_frames} can't be decoded", self.path) from None
