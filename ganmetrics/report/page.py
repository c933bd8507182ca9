"""One HTML file that needs nothing else: pictures, plots and style are inside, and there is no script.

`require_writable` is asked before the work, `write` after it. Needs `ganmetrics[report]`.
"""

from __future__ import annotations

import datetime
import os
import platform
from dataclasses import fields
from pathlib import Path
from typing import Any

from ganmetrics.errors import OptionError
from ganmetrics.printable import printable
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
    if target.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"{option}: expected a name that ends in .html, came {name!r}")
    if target.is_dir():
        raise OptionError(f"{option} {name}: is a folder; expected the name of a page")
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise OptionError(f"{option} {name}: its folder does not exist or cannot be written to")
    if target.exists() and not _is_ours(target):
        raise OptionError(f"{option} {name}: is there already and is no report of ganmetrics; choose another name")
    try:  # what may be written to by its rights may refuse all the same, as /proc does
        _beside(target).touch()
        _beside(target).unlink()
    except OSError as error:
        reason = error.strerror or error
        raise OptionError(f"{option} {name}: no file can be made in its folder ({reason}); choose another") from error


def _beside(target: Path) -> Path:
    """A file of this process in the same folder, which becomes the page in one move."""
    return target.with_name(f".{target.name}.{os.getpid()}")


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
    target = Path(path)
    temporary = _beside(target)
    try:
        temporary.write_bytes(page.encode("utf-8", errors="backslashreplace"))
        os.replace(temporary, target)
    except OSError as error:
        raise OptionError(f"{printable(str(target))}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)
