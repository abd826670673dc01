"""Video files as containers: which kinds are read, how one is opened safely, and what can be known of one without decoding."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from smallbignet.data.limits import Limits
from smallbignet.errors import VideoError

# The containers that are read, by FFmpeg's first name for them, and the usual suffixes of their files. None of them can make
# FFmpeg open a second file, as playlists, concat scripts and patterns of image names do.
CONTAINERS = {
    "mov": ".3g2 .3gp .3gp2 .3gpp .f4v .insv .ismv .lrv .m4v .mj2 .mov .mp4 .mp4v .mpeg4 .qt",
    "matroska": ".mk3d .mkv .webm",
    "avi": ".avi .divx .xvid",
    "mpegts": ".m2t .m2ts .mts .tod .tp .trp .ts",
    "mpeg": ".m2p .mod .mpe .mpeg .mpg .vob",
    "asf": ".asf .wmv",
    "flv": ".flv",
    "ogg": ".ogm .ogv",
    "gif": ".gif",
    "apng": ".apng",
    "mxf": ".mxf",
    "dv": ".dv",
    "nut": ".nut",
    "rm": ".rm .rmvb",
    "wtv": ".wtv",
    "ivf": ".ivf",
    "yuv4mpegpipe": ".y4m",
    "h264": ".264 .h264",
    "hevc": ".265 .h265 .hevc",
    "obu": ".obu",
    "mpegvideo": ".m1v .m2v .mp2v .mpv",
    "m4v": "",
    "mjpeg": ".mjpeg .mjpg",
}
VIDEO_EXTENSIONS = frozenset(" ".join(CONTAINERS.values()).split())
_SOUND = ("aac", "flac", "mp3", "wav")  # opened only to say that there is no video in them

# The containers that store when each frame is shown. In the others (AVI, raw streams, ...) some or all of these times are
# FFmpeg's guesses.
_TIMED = ("mov", "matroska")

# A ratio of a pixel's width to its height that is nearer to 1 than this comes of rounding sizes (such as 224:225).
_LEAST_RATIO = Fraction(2, 100)
_MOST_RATIO = 8  # beyond it, and below 1/8, it is a mistake


def open_stream(path: str, limits: Limits) -> tuple[InputContainer, VideoStream]:
    """Opens a video file and finds its video. No other file is opened, whatever is written in this one.

    Raises:
        VideoError: it is no video file of a kind in `CONTAINERS`, FFmpeg can't decode it, or its frames are too large.
    """
    most_pixels = str(2 * limits.max_pixels + 2**16)  # decoders add margins
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": ",".join([*CONTAINERS, *_SOUND]),  # checked before any header is read
        "max_pixels": most_pixels,  # for the frames that FFmpeg decodes to learn what is in a file
    }
    try:
        # The prefix keeps a colon in a name from being read as a protocol; titles may have any encoding.
        container = av.open(f"file:{path}", metadata_errors="replace", options=options)
    except av.FFmpegError as error:
        if error.errno == errno.EINVAL:
            what = "it is not a video of a kind that is read; playlists, scripts, subtitles and single images are not"
        else:
            what = f"FFmpeg can't open it as a video: {error.strerror}"
        raise VideoError(what, path) from None
    stream = container.streams.best("video")
    try:
        if not isinstance(stream, VideoStream):
            raise VideoError("there is no video in it", path)
        if stream.disposition & Disposition.attached_pic:
            raise VideoError("there is no video in it, only a cover picture", path)
        if stream.codec_context is None:
            raise VideoError("FFmpeg has no decoder for its video", path)
        limits.check_size(stream.codec_context.width, stream.codec_context.height, path)
        stream.codec_context.options = {"max_pixels": most_pixels}
    except VideoError:
        container.close()
        raise
    return container, stream


def form_of(container: InputContainer) -> str:
    """The kind of a container, one of `CONTAINERS`."""
    return container.format.name.split(",")[0]


def stores_times(container: InputContainer) -> bool:
    """Whether the container stores when each frame is shown."""
    return form_of(container) in _TIMED


def read_packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream] | None]:
    """A stream's packets, then None, which makes a decoder return what it still holds. A file that was cut short just ends."""
    try:
        for packet in container.demux(stream):
            if packet.size:  # an empty one would end the decoding
                yield packet
    except (av.FFmpegError, IndexError):  # IndexError: PyAV's end of a file where streams appeared on the way
        pass
    yield None


def is_shown(packet: Packet[VideoStream], codec: str) -> bool:
    """Whether a packet's frame is shown.

    Edit lists have packets that are decoded and not shown; VP8 has frames that only help to predict others.
    """
    return not packet.is_discard and (codec != "vp8" or bool(memoryview(packet)[0] & 0x10))


def pixel_ratio(stream: VideoStream) -> Fraction:
    """Width of a pixel as it is shown, divided by its height; 1 where the file says nothing of it, or nothing sensible.

    The container's word goes before the codec's.
    """
    ratio = stream.sample_aspect_ratio or Fraction(1)
    if abs(ratio - 1) < _LEAST_RATIO or not Fraction(1, _MOST_RATIO) <= ratio <= _MOST_RATIO:
        return Fraction(1)
    return ratio


def is_cut_short(path: str, form: str) -> bool:
    """Whether a file ends before the end of a part whose length it states, as a download does that stopped half way.

    Known of AVI, MP4 and MOV, Matroska and WebM; False for the others.
    """
    length_of = _LENGTHS.get(form)
    if length_of is None:
        return False
    size = os.path.getsize(path)
    position = 0
    with open(path, "rb") as file:
        while position < size:
            file.seek(position)
            length = length_of(file.read(16))
            if not length:
                return False
            position += length
    return position > size + 1  # some writers leave out the last byte, which fills up a part to an even length


def _riff_length(head: bytes) -> int:
    """The length of a RIFF chunk; 0 for anything else, and where its writer never came to fill it in."""
    length = int.from_bytes(head[4:8], "little")
    return 8 + length if head.startswith(b"RIFF") and 0 < length < 0xFFFFFFF0 else 0


def _box_length(head: bytes) -> int:
    """The length of a box of MP4 or MOV; 0 for bytes that are none, and for a box that goes on to the end of the file."""
    length = int.from_bytes(head[:4], "big")
    if length == 1:
        length = int.from_bytes(head[8:16], "big")
    return length if length >= 8 and head[4:8].isalnum() else 0


def _element_length(head: bytes) -> int:
    """The length of one of the two outer elements of Matroska; 0 for anything else, and for a live recording of no length."""
    is_outer = head[:4] in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67")
    if not is_outer or len(head) < 12 or not head[4]:
        return 0
    digits = 9 - head[4].bit_length()  # as many bytes as there are zeros before the first one, and one more
    length = int.from_bytes(head[4 : 4 + digits], "big") - (1 << 7 * digits)
    return 4 + digits + length if length < (1 << 7 * digits) - 1 else 0


_LENGTHS: dict[str, Callable[[bytes], int]] = {"avi": _riff_length, "mov": _box_length, "matroska": _element_length}
