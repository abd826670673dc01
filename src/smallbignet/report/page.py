"""From a template to a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from smallbignet.utils.files import write_text
from smallbignet.version import __version__


def write_page(file: Path, template: str, **values: Any) -> None:
    """Writes an HTML page that needs no other file.

    Args:
        template: its name in `templates`.
        values: what the template shows. Text in them is escaped.
    """
    environment = Environment(
        loader=PackageLoader("smallbignet.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    write_text(file, environment.get_template(template).render(version=__version__, **values))


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share in per cent, or a dash where there is none."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"
