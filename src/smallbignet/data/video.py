"""One way to get frames out of a video: a file (PyAV, or torchcodec where it is installed) or a folder of frames.

Frame i is the i-th frame that is shown: the i-th that decoding the whole file from its start gives. Getting exactly that
frame without decoding the whole file is the work of `PyAVVideo`, and is less simple than it looks:

- packets are stored in decoding order and shown in another (B-frames), at uneven times, from any start;
- edit lists keep packets that must be decoded and not shown;
- a decoder can start at key frames only, and frames stored after a key frame may be shown before it (open GOP);
- headers claim too many frames, none, or no duration; some containers know no time of showing at all.

So: read the packets once without decoding, sort their times of showing, and number the frames by that. For a wanted frame
go to the last key frame shown at or before it and decode on. What comes out is checked against the numbering; where the two
disagree, or the container's times can't be trusted, decode from the start and count.

Open a video in the process that reads it: a decoder does not survive a fork.
"""

from __future__ import annotations

import os
import re
import struct
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
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
from PIL import Image
from torch import Tensor

from smallbignet.errors import SmallBigError, VideoError

VIDEO_EXTENSIONS = frozenset(
    ".3gp .asf .avi .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .vob .webm .wmv".split()
)

# The containers that store when each frame is shown, by FFmpeg's first name for them. In the others (AVI, raw streams, ...)
# some or all of these times are FFmpeg's guesses.
_TIMED = ("mov", "matroska")

# Since PyAV 17 the conversion to RGB starts a thread for every core unless told otherwise; before, it knew no threads.
_CONVERTS_IN_THREADS = int(av.__version__.split(".")[0]) >= 17


class Video(ABC):
    """A video whose frames are read by number. Close it, or use it in a `with` statement.

    Attributes:
        path: the file or folder.
        num_frames: how many frames there are to ask for.
        claimed_frames: how many the file says it has, 0 if it does not say; more than `num_frames` if its end is missing.
        fps: mean frames a second, 0.0 if unknown.
        width, height: size in pixels of the upright frames.
    """

    path: str
    num_frames: int
    claimed_frames: int
    fps: float
    width: int
    height: int

    def frames(self, indices: Sequence[int]) -> Tensor:
        """Read frames by number, in the order asked; a number may come more than once.

        Returns:
            uint8 RGB frames (T, 3, H, W), upright, T = len(indices).

        Raises:
            IndexError: a number is negative, or not below `num_frames`.
            VideoError: one of these frames is damaged or missing.
        """
        wanted = [int(i) for i in indices]
        for i in wanted:
            if not 0 <= i < self.num_frames:
                raise IndexError(f"no frame {i} in the {self.num_frames} of {self.path}")
        out = torch.empty(len(wanted), 3, self.height, self.width, dtype=torch.uint8)
        last = -1
        for slot in sorted(range(len(wanted)), key=wanted.__getitem__):  # forwards, as a decoder goes
            if wanted[slot] != last:
                last = wanted[slot]
                rgb = self._rgb(last)
            out[slot] = rgb
        return out

    def whole_frames(self) -> int:
        """Read every frame once and count those without damage."""
        whole = 0
        for i in range(self.num_frames):
            with suppress(VideoError):
                self._rgb(i)
                whole += 1
        return whole

    @abstractmethod
    def _rgb(self, index: int) -> Tensor:
        """One upright frame as uint8 (3, H, W); raises VideoError."""

    def close(self) -> None:  # noqa: B027 (a folder has nothing to let go of)
        """Let go of the file."""

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_video(
    path: str | os.PathLike[str], backend: str = "auto", filename_tmpl: str = "img_{:05d}.jpg", threads: int = 1
) -> Video:
    """Open a video file, or a folder of frames.

    Args:
        path: a video file, or a folder that holds one video's frames as images.
        backend: what decodes a file: "pyav" (which "auto" means) or "torchcodec", which is installed separately and used
            for MP4, MOV, Matroska and WebM: it misnumbers the frames of AVI and MPEG files, so those go to PyAV still.
        filename_tmpl: the name of a folder's frames, numbered from 1.
        threads: threads that decode a file. One is right where many processes read.

    Raises:
        VideoError: it is missing, empty, has no video, or nothing of it can be decoded.
        SmallBigError: no such backend, or torchcodec can't be imported.
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
            raise SmallBigError("torchcodec can't be imported: it takes `pip install torchcodec` and FFmpeg", backend)
        with suppress(av.FFmpegError), _open_container(path) as container:
            if _stores_times(container):
                return TorchCodecVideo(path, threads)
    return PyAVVideo(path, threads)


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

    def __init__(self, path: str, threads: int = 1):
        self.path = path
        self._threads = threads
        self._error = ""  # FFmpeg's last word on a packet that did not decode
        self._reformatter = VideoReformatter()
        self._convert: dict[str, Any] = {"threads": threads} if _CONVERTS_IN_THREADS else {}
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
        self._start(None)
        return sum(not frame.is_corrupt for _, frame in self._decoder)

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
        for packet in _packets(self._container, stream):
            if packet is None:
                break
            cut = packet.is_corrupt
            if packet.is_keyframe and packet.pts is not None:
                keys.append(packet.pts)
            # An edit list has packets decoded and not shown; VP8 has frames that only serve to predict others.
            if packet.is_discard or (stream.codec_context.name == "vp8" and not memoryview(packet)[0] & 0x10):
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
        self._start(None)
        try:
            self._at, self._last = next(self._decoder)
        except StopIteration:
            raise VideoError(f"no frame of it can be decoded{self._error}", self.path) from None
        self._convert |= {"format": "rgb24", "width": self._last.width, "height": self._last.height}
        self.height, self.width = _upright(torch.empty(self._last.height, self._last.width), self._last).shape
        if self._number and self._at > 0 and not self._error:  # cut out of a longer video, at an open GOP
            self._times = self._times[self._at :]
            self._number = {pts: i for i, pts in enumerate(self._times)}
            self.num_frames = len(self._times)
            self._start(None)

    def _rgb(self, index: int) -> Tensor:
        frame = self._frame(index)
        try:
            rgb = self._reformatter.reformat(frame, **self._convert).to_ndarray()
        except av.FFmpegError as error:
            raise VideoError(f"frame {index} can't be converted to RGB: {error.strerror}", self.path) from None
        return _upright(torch.from_numpy(rgb).permute(2, 0, 1), frame)

    def _frame(self, index: int) -> VideoFrame:
        """Decode on to a frame from where the decoder is, or from the last key frame before it if that is nearer."""
        key, first = None, 0
        if self._number is not None and (passed := bisect_right(self._keys, self._times[index])):
            key = self._keys[passed - 1]
            first = bisect_left(self._times, key)
        try:
            if self._last is None or not first - 1 <= self._at <= index:
                self._start(key)
            while self._at < index:
                self._at, self._last = next(self._decoder)
        except _OutOfOrder:
            self._number, self._last = None, None
            return self._frame(index)
        except StopIteration:
            pass
        if self._last is None or self._at != index:
            raise VideoError(f"frame {index} of {self.num_frames} can't be decoded{self._error}", self.path)
        return self._last

    def _start(self, key: int | None) -> None:
        """Go to the key frame that is shown at a time, or to the start of the file."""
        if key is None:
            self.close()
            self._open()
        else:
            try:
                self._container.seek(key, stream=self._stream)
            except av.FFmpegError:
                raise _OutOfOrder from None
        first = 0 if key is None else bisect_left(self._times, key)
        self._at, self._last = first - 1, None
        self._decoder = self._decode(first, key)

    def _decode(self, first: int, key: int | None) -> Iterator[tuple[int, VideoFrame]]:
        """Decode from where the container stands, before frame `first`; yield the frames that decode, with their numbers."""
        count, following, fresh, broken = first, first, True, False
        for packet in _packets(self._container, self._stream):
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


def _upright(image: Tensor, frame: VideoFrame) -> Tensor:
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


def is_torchcodec_available() -> bool:
    """Whether torchcodec can be imported, which takes its package and FFmpeg's shared libraries."""
    try:
        import_module("torchcodec.decoders")
    except Exception:  # which one depends on what it lacks
        return False
    return True


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

    def _rgb(self, index: int) -> Tensor:
        try:
            return self._decoder.get_frame_at(index).data
        except (RuntimeError, IndexError):
            raise VideoError(f"frame {index} of {self.num_frames} can't be decoded", self.path) from None


class FrameFolder(Video):
    """A folder of images, one a frame, numbered from 1 without a gap."""

    def __init__(self, path: str, filename_tmpl: str = "img_{:05d}.jpg"):
        self.path, self._template = path, filename_tmpl
        names = set(os.listdir(path))
        self.num_frames = 0
        while filename_tmpl.format(self.num_frames + 1) in names:
            self.num_frames += 1
        if not self.num_frames:
            raise VideoError(f"the folder has no {filename_tmpl.format(1)}", path)
        prefix, suffix = re.split(r"\{.*?\}", filename_tmpl, maxsplit=1)
        self.claimed_frames = sum(name.startswith(prefix) and name.endswith(suffix) for name in names)
        self.fps = 0.0
        self.width, self.height = self._image(0).size

    def _image(self, index: int) -> Image.Image:
        name = self._template.format(index + 1)
        try:
            with Image.open(os.path.join(self.path, name)) as image:
                return image.convert("RGB")
        except (OSError, SyntaxError, ValueError):
            raise VideoError(f"the frame {name} is not a readable image", self.path) from None

    def _rgb(self, index: int) -> Tensor:
        image = self._image(index)
        if image.size != (self.width, self.height):
            raise VideoError(f"frame {self._template.format(index + 1)} has another size than the first", self.path)
        return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
