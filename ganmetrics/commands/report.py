"""`ganmetrics report`: the histories of runs as one page of curves."""

from __future__ import annotations

import click

from ganmetrics.printable import printable


@click.command("report", short_help="Curves of runs that a Monitor measured, as a page")
@click.argument("files", nargs=-1, required=True)
@click.option("-o", "--output", required=True, metavar="HTML", help="The page; one that is a report is replaced.")
def report(files: tuple[str, ...], output: str) -> None:
    """Curves of the histories FILES that a Monitor kept, as one HTML page that needs nothing else."""
    from ganmetrics.report.history import report

    for remark in report(files, output):
        click.echo(printable(f"Warning: {remark}"), err=True)
    click.echo(f"{printable(output)}: {len(files)} run{'s' * (len(files) > 1)}")
