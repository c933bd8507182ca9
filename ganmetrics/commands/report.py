"""`ganmetrics report`: the histories of runs as one page of curves."""

from __future__ import annotations

import click

from ganmetrics.printable import printable


@click.command("report", short_help="Curves of runs measured by a Monitor, as a page")
@click.argument("files", nargs=-1, required=True)
@click.option("-o", "--output", required=True, metavar="HTML", help="The page; replaces only a report.")
def report(files: tuple[str, ...], output: str) -> None:
    """Write the curves of FILES, histories written by a Monitor, as one self-contained HTML page."""
    from ganmetrics.report.history import report

    for remark in report(files, output):
        click.echo(printable(f"Warning: {remark}"), err=True)
    click.echo(f"{printable(output)}: {len(files)} run{'s' * (len(files) > 1)}")
