"""`fastcms doctor`."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from fastcms.doctor.examination import Report, examine
from fastcms.doctor.findings import Level
from fastcms.terminal import JsonOption, output, print_json

_SIGNS = {
    Level.OK: ("ok", "green"),
    Level.NOTE: ("note", "cyan"),
    Level.WARNING: ("warning", "yellow"),
    Level.PROBLEM: ("PROBLEM", "bold red"),
}


def doctor(
    deep: Annotated[
        bool, typer.Option("--deep", help="Also read every byte of all files and backups.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the whole installation, changing nothing, and say what is wrong and what to do."""
    report = examine(is_deep=deep)
    if as_json:
        print_json(
            {
                "healthy": report.is_healthy,
                "findings": [
                    {"group": group} | asdict(finding)
                    for group, findings in report.groups.items()
                    for finding in findings
                ],
            }
        )
    else:
        _show(report)
    raise typer.Exit(0 if report.is_healthy else 1)


def _show(report: Report) -> None:
    for group, findings in report.groups.items():
        if findings:
            output.print(f"[bold]{group}[/]")
        for finding in findings:
            sign, style = _SIGNS[finding.level]
            output.print(f"  [{style}]{sign:7}[/]  {escape(finding.message)}")
            if finding.hint:
                output.print(f"           [dim]What to do:[/] {escape(finding.hint)}")
    output.print(f"\n[bold]{_summary(report)}[/]")


def _summary(report: Report) -> str:
    levels = [finding.level for finding in report.findings]
    counted = [
        f"{count} {level}{'s' if count > 1 else ''}"
        for level in (Level.PROBLEM, Level.WARNING)
        if (count := levels.count(level))
    ]
    if counted:
        return f"The site needs your attention: {' and '.join(counted)}."
    return "The site is healthy."
