"""Writes self-contained HTML pages: pictures, plots and styles are inside, and there is no script.

Call `require_writable` before the slow work, `write` after it. Needs `ganmetrics[report]`.
"""

from __future__ import annotations

import datetime
import os
import platform
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

from ganmetrics.disk.writing import require_writable as require_writable_file
from ganmetrics.disk.writing import write_whole
from ganmetrics.errors import OptionError
from ganmetrics.printable import printable, reason_of
from ganmetrics.report import has, svg
from ganmetrics.report.contents import Contents
from ganmetrics.version import __version__

MARK = '<meta name="generator" content="ganmetrics'  # at the top of every page; a file with it may be replaced
HEAD = 400  # MARK is within so many first characters


def require_writable(path: str | os.PathLike[str], option: str = "--report") -> None:
    """Raises OptionError if the page cannot be written. Call it before anything slow begins.

    A page that this package wrote may be replaced; any other file may not.
    """
    target = Path(path)
    name = printable(str(target))
    if not has("jinja2"):
        raise OptionError(f"{option} needs jinja2: pip install 'ganmetrics[report]'")
    require_writable_file(target, ".html", ".htm", option=option, overwrite=True)
    if target.exists() and not _is_ours(target):
        raise OptionError(f"{option} {name}: is there already and is no report of ganmetrics; choose another name")
    try:  # permissions are not enough: /proc, for example, refuses new files anyway
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise OptionError(
            f"{option} {name}: no file can be made in its folder ({reason_of(error)}); choose another"
        ) from error


def _is_ours(path: Path) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as page:
            return MARK in page.read(HEAD)
    except OSError:
        return False


def write(path: str | os.PathLike[str], contents: Contents) -> None:
    """Write the page of one evaluation."""
    save(path, render("report.html.j2", {field.name: getattr(contents, field.name) for field in fields(contents)}))


def render(template: str, values: dict[str, Any]) -> str:
    """The text of a page. All values are escaped except plots, which are Markup."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ganmetrics.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    common = {
        "version": __version__,
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "swatch": lambda *look: Markup(svg.swatch(*look)),
        "dash": lambda number: Markup(svg.dash(number)),
    }
    return environment.get_template(template).render({**common, **values})


def save(path: str | os.PathLike[str], page: str) -> None:
    """Write the page, whole or not at all. Raises OptionError if it cannot be written."""
    try:
        with write_whole(path) as file:
            file.write(page.encode("utf-8", errors="backslashreplace"))
    except OSError as error:
        raise OptionError(f"{printable(os.fspath(path))}: cannot be written ({reason_of(error)})") from error
