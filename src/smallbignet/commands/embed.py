"""`smallbig embed`: feature vectors of videos, or of windows over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

from smallbignet.data.frames import Unreadable
from smallbignet.data.options import VideoOptions
from smallbignet.data.source import find_files
from smallbignet.errors import SmallBigError, WorkError
from smallbignet.inference.clips import VideoClips, WindowClips
from smallbignet.inference.embedding import Embedder, Embedding, Stage, VectorFile, check_writable, write_vectors
from smallbignet.inference.exported import load_network
from smallbignet.inference.timeline import Seconds
from smallbignet.utils.checks import checked
from smallbignet.utils.console import bar, console
from smallbignet.utils.memory import keep_memory
from smallbignet.weights.load import load_config


@dataclass(frozen=True)
class Vectors:
    """A file of vectors that was written.

    Attributes:
        out: its path.
        rows: number of vectors.
        dimensions: length of each.
        videos: number of videos that they belong to.
        unreadable: the videos that could not be read, and why.
    """

    out: str
    rows: int
    dimensions: int
    videos: int
    unreadable: list[Unreadable] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        """1 where a video could not be read."""
        return int(bool(self.unreadable))


@checked
def embed(
    model: str,
    videos: list[str],
    *,
    out: VectorFile,
    stage: Stage = "res5",
    windows: bool = False,
    window: Seconds = 0.0,
    stride: Seconds = 0.0,
    views: str = "",
    source: VideoOptions = VideoOptions(),
    device: str = "",
) -> Vectors:
    """Computes a feature vector of each video, or of each window over it.

    Args:
        model: a model or run directory, a published network such as slow_r50, or org/name on the Hugging Face hub.
        videos: files, folders (all videos below, by suffix) or glob patterns.
        out: file for the vectors: .npz, or .parquet (`pip install 'smallbignet[parquet]'`).
        stage: where the features are taken: res5, what the classifier gets; or the mean of an earlier stage's output.
        windows: a vector for each window, with its start and end in seconds and its frames, instead of one for each video.
        window: seconds of a window; 0 for as long as a dense clip of the model, or 2 for uniform clips.
        stride: seconds from one window to the next, at most; 0 for half a window.
        views: clips x crops that are averaged; if not given, the model's own (predict's "auto") for a video, 1x1 for a window.
        source: how the videos are opened.
        device: cpu, cuda, ...; a GPU where there is one if not given.

    Raises:
        SmallBigError: no such model, none of the names is a video's, or a .parquet file without PyArrow.
        WorkError: none of the videos could be read.
    """
    if (window or stride) and not windows:
        raise SmallBigError("window and stride are those of --windows, which is not given", "smallbig embed --help")
    check_writable(out)
    paths = find_files(videos, source)
    keep_memory()
    embedder = Embedder(load_network(model), load_config(model), stage, device or None)
    reader = embedder.reader(views or ("1x1" if windows else "auto"), source)
    items = (
        chain.from_iterable(reader.read_windows(path, window, stride) for path in paths) if windows else reader.read_all(paths)
    )
    made: list[Embedding] = []
    unreadable: list[Unreadable] = []
    with bar("embed", 0 if windows else len(paths), "windows" if windows else "videos") as progress:

        def advance(item: VideoClips | Unreadable) -> None:
            if isinstance(item, WindowClips):
                progress.extend(item.num_windows if item.number == 0 else 0)
                progress.advance(len(item.windows))
            elif not windows and (isinstance(item, Unreadable) or item.is_last):
                progress.advance()

        for result in embedder.embed(items, advance):
            if isinstance(result, Unreadable):
                unreadable.append(result)
                console.print(f"unreadable: {result.path}: {result.reason}")
            else:
                made.append(result)
    if not made:
        raise WorkError("none of the videos could be read", ", ".join(videos))
    write_vectors(made, out)
    rows = sum(len(item.vectors) for item in made)
    return Vectors(out, rows, made[0].vectors.shape[1], len(made), unreadable)


def show(result: Vectors) -> str:
    """One line."""
    return f"{result.out}: {result.rows} vectors of {result.dimensions} numbers, from {result.videos} videos"
