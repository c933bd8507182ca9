"""One HTML file that needs nothing else: pictures, plots and style are inside, and there is no script.

`require_writable` is asked before the work, `write` after it. Needs `ganmetrics[report]`.
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

MARK = '<meta name="generator" content="ganmetrics'  # at the top of every page; what bears it may be replaced
HEAD = 400  # characters in which it is


def require_writable(path: str | os.PathLike[str], option: str = "--report") -> None:
    """To be asked before anything slow begins. Raises OptionError.

    A page that this package wrote is replaced; any other file is not.
    """
    target = Path(path)
    name = printable(str(target))
    if not has("jinja2"):
        raise OptionError(f"{option} needs jinja2: pip install 'ganmetrics[report]'")
    require_writable_file(target, ".html", ".htm", option=option, overwrite=True)
    if target.exists() and not _is_ours(target):
        raise OptionError(f"{option} {name}: is there already and is no report of ganmetrics; choose another name")
    try:  # what may be written to by its rights may refuse all the same, as /proc does
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
    """The page of one evaluation."""
    save(path, render("report.html.j2", {field.name: getattr(contents, field.name) for field in fields(contents)}))


def render(template: str, values: dict[str, Any]) -> str:
    """A template with everything in it escaped, but for the plots, which are Markup."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ganmetrics.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made = {
        "version": __version__,
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "swatch": lambda *look: Markup(svg.swatch(*look)),
        "dash": lambda number: Markup(svg.dash(number)),
    }
    return environment.get_template(template).render({**made, **values})


def save(path: str | os.PathLike[str], page: str) -> None:
    """Write the page whole or not at all. Raises OptionError where it cannot be written after all."""
    try:
        with write_whole(path) as file:
            file.write(page.encode("utf-8", errors="backslashreplace"))
    except OSError as error:
        raise OptionError(f"{printable(os.fspath(path))}: cannot be written ({reason_of(error)})") from error
