"""An explanation as files: arrays, pictures, a video, and a page that holds all of them and needs no other file."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smallbignet.explain import drawing
from smallbignet.explain.big_views import KINDS, BigView, Place, same_place
from smallbignet.explain.clip import shown_frames
from smallbignet.explain.explanation import Explanation
from smallbignet.report.page import write_page
from smallbignet.utils.files import writing

PAGE, ARRAYS, OVERLAY = "index.html", "contributions.npz", "overlay.mp4"
MEDIA = {".png": "image/png", ".mp4": "video/mp4"}


def write_explanation(found: Explanation, directory: Path) -> list[str]:
    """Write all files of an explanation into a folder, and return their names.

    Files of an earlier explanation are replaced; other files stay as they are.

    Raises:
        OSError: the folder can't be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with writing(directory):
        for kind in KINDS:  # an earlier network may have had other views
            (directory / f"big_view_{kind}.png").unlink(missing_ok=True)
        save_arrays(found, directory / ARRAYS)
        drawing.draw_contributions(found.clip, found.contributions, title(found), directory / "contributions.png")
        drawing.draw_overlay(found.clip, found.contributions, directory / OVERLAY)
        pictures = [draw_view(found, view, directory) for view in found.views]
        maps_title = "means over channels, on the frames (Fig. 3)"
        drawing.draw_feature_maps(found.clip, found.feature_maps, maps_title, directory / "feature_maps.png")
        score = "score" if found.against is None else "score of the two classes"
        drawing.draw_deletion(found.deletion, score, directory / "deletion.png")
        write_index(found, directory)
    return [PAGE, ARRAYS, OVERLAY, "contributions.png", *pictures, "feature_maps.png", "deletion.png"]


def title(found: Explanation) -> str:
    """What the map of contributions adds up to."""
    parts = found.contributions
    kind = "logit" if found.against is None else "difference of logits"
    return f"{found.what}: {kind} {parts.logit:.3f} = sum of the map {parts.map.sum():.3f} + bias {parts.bias:.3f}"


def save_arrays(found: Explanation, file: Path) -> None:
    """Save map (T', H', W'), bias, logit, the maps of the pathways, and the frames and times of the clip."""
    parts = found.contributions
    arrays = {"map": parts.map, "bias": np.array(parts.bias), "logit": np.array(parts.logit)}
    arrays |= {"frames": found.clip.frames, "times": found.clip.times}
    if len(parts.parts) > 1:
        arrays |= {f"map_{name}": part for name, part in parts.parts.items()}
    with file.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def draw_view(found: Explanation, view: BigView, directory: Path) -> str:
    """Draw a big view, and return the name of the file."""
    name = f"big_view_{view.kind}.png"
    place = found.place_in(view)
    middle = found.clip.caption(shown_frames(len(found.clip.pixels), view.size[0])[place[0]])
    where = "" if view.kind == "clip" else f" around {middle}, row {place[1]}, column {place[2]}"
    text = f"{view.name}: {KINDS[view.kind]}{where}; {100 * view.left_out(place):.0f} % of the channels left out"
    drawing.draw_big_view(found.clip, view, place, text, directory / name)
    return name


def write_index(found: Explanation, directory: Path) -> None:
    """Write the page, which holds the other files' pictures and the video itself."""
    order = np.argsort(-found.scores, kind="stable")[:5]
    write_page(
        directory / PAGE,
        "explanation.html",
        found=found,
        top=[(found.classes[index], float(found.scores[index])) for index in order],
        report=found.report(),
        kinds=KINDS,
        viewer=viewer_data(found),
        overlay=OVERLAY,
        uri=lambda name: data_uri(directory / name),
    )


def data_uri(file: Path) -> str:
    """Return a file's content as an address, so that a page holds it itself."""
    return f"data:{MEDIA[file.suffix]};base64,{base64.b64encode(file.read_bytes()).decode()}"


def viewer_data(found: Explanation) -> dict[str, Any]:
    """Return what the page's viewer of big views needs: frames, and for each place its box, its tube and its shares."""
    size = found.contributions.size
    indices = shown_frames(len(found.clip.pixels), size[0])
    return {
        "size": list(size),
        "place": list(found.place),
        "frames": [{"image": jpeg(found.clip.pixels[i].numpy()), "caption": found.clip.caption(i)} for i in indices],
        "views": [view_data(view, size) for view in found.views],
    }


def view_data(view: BigView, size: Place) -> dict[str, Any]:
    """Return the tube and the shares of a big view for every place of the map of contributions, in its order.

    Shares are pairs of a position, counted through the view's map, and the share in thousandths; those of 0 are left out.
    """
    grid = [same_place((t, h, w), size, view.size) for t, h, w in np.ndindex(*size)]
    keys = [",".join(map(str, view.column(place)[1:])) for place in grid]
    shares = {}
    for place, key in zip(grid, keys, strict=True):
        if key not in shares:
            thousandths = (1000 * view.shares(place).ravel()).round().astype(int)
            shares[key] = [[int(i), int(thousandths[i])] for i in np.flatnonzero(thousandths)]
    places = [{"box": place, "tube": view.tube(place), "key": key} for place, key in zip(grid, keys, strict=True)]
    return {"name": view.name, "kind": KINDS[view.kind], "size": list(view.size), "places": places, "shares": shares}


def jpeg(frame: np.ndarray) -> str:
    """Return a frame, uint8 (H, W, 3), as the address of a JPEG image."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
