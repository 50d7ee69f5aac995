"""One HTML page that needs nothing but itself: no network, no further file, no script but its own.

Names, replies and paths are hostile text. Three layers keep them text: every printed value loses its hidden characters
(the template's ``finalize``), Jinja escapes every value, and a Content-Security-Policy forbids every resource and every
script but the one whose hash it names.
"""

from __future__ import annotations

import base64
import hashlib
import os
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from fgvr.report.data import ReportData
from fgvr.report.thumbs import Thumbnail, Thumbnails, decoded_thumbnail
from fgvr.report.views import page_of
from fgvr.runs.atomic import write_text

if TYPE_CHECKING:
    from jinja2 import Template

THUMBNAIL_BYTES = 5_000_000
"""Of pictures and their captions on one page."""
MAX_BYTES = 8_000_000
"""Of the whole page: where hostile or very many texts would pass it, pictures give way."""


def render_report(
    data: ReportData,
    *,
    thumbnails: Thumbnail | None = None,
    max_per_class: int = 24,
    thumbnail_side: int = 112,
    thumbnail_bytes: int = THUMBNAIL_BYTES,
) -> str:
    """The page as text; the same data and pictures give the same page.

    Args:
        thumbnails: makes a picture's ``data:`` URI from its path (``None`` for a placeholder); by default files are
            decoded and shrunk to ``thumbnail_side`` pixels.
        max_per_class: pictures per name: the surest and the least sure ones; the page says how many are not shown.
        thumbnail_bytes: budget for all pictures; every name gets its first before any gets its second.
    """
    make = cache(thumbnails or decoded_thumbnail(thumbnail_side))
    html = _rendered(data, Thumbnails(make, thumbnail_bytes), max_per_class)
    excess = len(html.encode()) - MAX_BYTES
    if excess > 0:
        html = _rendered(data, Thumbnails(make, max(0, thumbnail_bytes - excess)), max_per_class)
    return html


def _rendered(data: ReportData, pictures: Thumbnails, max_per_class: int) -> str:
    page = page_of(data, pictures, max_per_class=max_per_class)
    return rendered(_resource("page.html.j2"), page=page, pictures=pictures)


def rendered(template: str, *, own_script: str | None = None, own_style: str = "", **values: object) -> str:
    """A page in the reports' dress: ``template`` may use ``css``, ``script`` and ``policy`` beside ``values``.

    ``own_script`` takes the place of the reports' script, ``own_style`` follows their style sheet: text of this
    package's files, or made from checked parts. Every value is escaped and loses its hidden characters; markup must be
    made with ``markupsafe.Markup``.
    """
    script = _resource("page.js") if own_script is None else own_script
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    style = _trusted(_resource("page.css") + own_style)
    return _template(template).render(css=style, script=_trusted(script), policy=policy, **values)


def write_report(
    data: ReportData,
    path: str | os.PathLike[str],
    *,
    thumbnails: Thumbnail | None = None,
    max_per_class: int = 24,
    thumbnail_side: int = 112,
    thumbnail_bytes: int = THUMBNAIL_BYTES,
) -> Path:
    """``render_report`` to a file, atomically. Raises ``RunError`` when it cannot be written."""
    page = render_report(
        data,
        thumbnails=thumbnails,
        max_per_class=max_per_class,
        thumbnail_side=thumbnail_side,
        thumbnail_bytes=thumbnail_bytes,
    )
    write_text(path, page)
    return Path(path)


@cache
def _resource(name: str) -> str:
    # The policy's hash is over exactly these characters, and browsers turn CRLF into LF before they hash.
    text = files("fgvr.report").joinpath(name).read_text("utf-8")
    return "\n" + text.replace("\r\n", "\n").strip() + "\n"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _trusted(text: str) -> object:
    from markupsafe import Markup

    return Markup(text)  # our own files, never data


def _without_hidden(value: object) -> object:
    from markupsafe import Markup

    from fgvr.labels.normalise import without_hidden

    return without_hidden(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _template(text: str) -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, finalize=_without_hidden, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text.strip())
