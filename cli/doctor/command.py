"""`treeline doctor`: what a deployment lacks, before and after it was made, and what to do about each."""

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict, replace

import boto3
from rich.console import Console
from rich.table import Table

from cli.deployment import LOCAL, WHERE, DeployedStage, add_stage
from cli.doctor import after as doctor_after
from cli.doctor import before as doctor_before
from cli.doctor.checks import Check, CheckState, Finding, examine
from stacks.config import stage as config
from treeline.core.errors import SettingsError, UsageError

_EXAMPLES = """examples:
  treeline doctor --stage prod            what is missing in the account the SDK is set up for
  treeline doctor --stage local           the embedded cloud of this machine
  treeline doctor --stage prod --json     for a pipeline: exit code 1 when something is to be done
"""
_MARKS = {
    CheckState.OK: "[green]ok[/green]",
    CheckState.TODO: "[bold red]to do[/bold red]",
    CheckState.UNKNOWN: "[yellow]unknown[/yellow]",
}


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `treeline doctor`."""
    parser.description = f"Say what a stage lacks, before and after its deployment, and what to do.{WHERE}"
    parser.epilog = _EXAMPLES
    add_stage(parser)


def run(args: argparse.Namespace) -> int:
    """Examine; 0 when all is well, 1 when something is to be done or could not be asked."""
    try:
        stage = config.load(args.stage)
    except SettingsError as error:
        raise UsageError(str(error)) from error
    deployment = DeployedStage.of(args)
    if not deployment.session.region_name:  # before the first deployment few have set one
        deployment = replace(deployment, session=boto3.session.Session(region_name=stage.region))
    findings = list(diagnose(stage, deployment.client, is_local=args.stage == LOCAL))
    if args.json:
        print(json.dumps({"stage": args.stage, "findings": [{"what": what, **asdict(f)} for what, f in findings]}))
    else:
        _show(findings, Console())
    return 0 if all(f.state is CheckState.OK for _, f in findings) else 1


def diagnose(
    stage: config.StageConfig, client: doctor_before.Clients, *, is_local: bool
) -> Iterable[tuple[str, Finding]]:
    """Every finding: tools and account first; what is deployed where there are stacks."""
    yield from examine(doctor_before.checks(stage, client, is_local=is_local))
    found: doctor_after.Deployed = {}

    def stacks() -> Finding:
        found.update(doctor_after.deployed(stage, client))
        return doctor_after.stacks(stage, found)

    yield from examine([Check("stacks", stacks)])
    yield from examine(doctor_after.checks(stage, client, found))


def _show(findings: list[tuple[str, Finding]], console: Console) -> None:
    table = Table(show_header=False, box=None)
    for what, finding in findings:
        table.add_row(_MARKS[finding.state], what, f"[dim]{finding.found}[/dim]")
        if finding.do:
            table.add_row("", f"  -> {finding.do}", "")
    console.print(table)
    words = {CheckState.TODO: "to do", CheckState.UNKNOWN: "could not be asked"}
    counts = {word: sum(finding.state is state for _, finding in findings) for state, word in words.items()}
    open_ones = [f"{count} {word}" for word, count in counts.items() if count]
    console.print(", ".join(open_ones) or "all is well")
