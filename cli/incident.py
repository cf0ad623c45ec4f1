"""`treeline incident list | label | unlabel`: what was found, and what people say it was."""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from cli.deployment import WHERE, DeployedStage, add_profile, add_stage, reaching
from demo.incident_files import IncidentFolder
from report.console import wide_console
from treeline.app.alert.controls import ControlKind, IncidentLabel
from treeline.core.alert import Alert, AlertEvent
from treeline.core.errors import UsageError
from treeline.core.times import iso, parse_iso

_EXAMPLES = f"""examples:
  treeline incident list --days 2 --stage prod
  treeline incident list --stage prod --profile batch          of a further profile
  treeline incident list --run runs/demo
  treeline incident label web-042/2026-11-22T15:58:30.000Z true --by ann --note "disk full"
  treeline incident label web-042/2026-11-22T15:58:30.000Z false --by ann
  treeline incident unlabel web-042/2026-11-22T15:58:30.000Z

A label says whether an incident was one. Training leaves the interval of a true one out; tuning counts a false one as
a false page.
{WHERE}
Exit codes: 0 done, 1 not reachable, 2 wrong use."""
_DAY_MS = 86_400_000


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    parser.description = "Incidents: which there were, and what people say of them."
    parser.epilog = _EXAMPLES
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list | label | unlabel")
    show = verbs.add_parser("list", help="incidents of the last days, or of a run")
    show.add_argument("--days", type=float, default=7.0, help="opened in the last so many days (default: %(default)g)")
    show.add_argument("--open", action="store_true", help="only those that are open")
    show.add_argument("--run", type=Path, metavar="DIR", help="a run's folder instead of a deployed stage")
    label = verbs.add_parser("label", help="say whether an incident was one")
    label.add_argument("incident", metavar="INCIDENT")
    label.add_argument("verdict", choices=("true", "false"), help="true: it was one; false: it should not have paged")
    label.add_argument("--by", required=True, metavar="WHO", help="who says so")
    label.add_argument("--note", default="", help="what it was")
    unlabel = verbs.add_parser("unlabel", help="take a label back")
    unlabel.add_argument("incident", metavar="INCIDENT")
    for verb in (show, label, unlabel):
        add_stage(verb)
        add_profile(verb)


def run(args: argparse.Namespace, *, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> int:
    """Do what was asked."""
    if args.verb == "list" and args.days <= 0:
        raise UsageError(f"--days must be above 0, got {args.days:g}")
    if args.verb == "label" and not args.by.strip():
        raise UsageError("--by must name somebody")
    if args.verb == "list" and args.run is not None:
        _show(args, IncidentFolder(args.run).incidents(), {})
        return 0
    with reaching(DeployedStage.of(args)) as deployment:
        if args.verb == "list":
            now = clock_ms()
            found = deployment.incidents.between(round(now - args.days * _DAY_MS), now + _DAY_MS)
            _show(args, found, deployment.controls.labels())
        elif args.verb == "label":
            _label(args, deployment, clock_ms())
        else:
            if not deployment.controls.remove(ControlKind.LABEL, args.incident):
                raise UsageError(f"incident {args.incident!r} has no label")
            print(json.dumps({"unlabelled": args.incident}) if args.json else f"{args.incident}: label taken back")
    return 0


def label_of(alerts: Sequence[Alert], *, is_incident: bool, by: str, note: str, now_ms: int) -> IncidentLabel:
    """The label of an incident: from its first anomalous observation to the last event it had so far."""
    first = alerts[0]
    return IncidentLabel(
        incident_id=first.incident_id,
        server_id=first.server_id,
        is_incident=is_incident,
        start_ms=parse_iso(first.clocks.first_anomalous_at),
        end_ms=max(parse_iso(alert.clocks.observed_at) for alert in alerts),
        by=by.strip(),
        created_ms=now_ms,
        note=note.strip(),
    )


def _label(args: argparse.Namespace, deployment: DeployedStage, now_ms: int) -> None:
    alerts = deployment.source.incident(args.incident)
    label = label_of(alerts, is_incident=args.verdict == "true", by=args.by, note=args.note, now_ms=now_ms)
    deployment.controls.put(label)
    if args.json:
        print(json.dumps(label.to_json()))
    else:
        was = "an incident" if label.is_incident else "no incident"
        print(f"{label.incident_id} was {was}, says {label.by} ({iso(label.start_ms)} to {iso(label.end_ms)})")


def _show(
    args: argparse.Namespace, incidents: Mapping[str, Sequence[Alert]], labels: Mapping[str, IncidentLabel]
) -> None:
    rows: list[dict[str, Any]] = [
        {
            "incident_id": name,
            "state": "resolved" if alerts[-1].event is AlertEvent.RESOLVED else "open",
            "priority": min(alert.priority for alert in alerts).value,
            "severity": max(alert.severity for alert in alerts),
            "metrics": [metric.name for metric in alerts[0].metrics],
            "ended_by": alerts[-1].ended_by,
            "quiet": alerts[0].suppressed,
            "is_incident": labels[name].is_incident if name in labels else None,
        }
        for name, alerts in incidents.items()
        if not args.open or alerts[-1].event is not AlertEvent.RESOLVED
    ]
    if args.json:
        print(json.dumps(rows))
        return
    if not rows:
        print("none")
        return
    table = Table("incident", "tier", "severity", "state", "metrics", "label", box=None, header_style="dim")
    table.columns[0].no_wrap = True  # an id is there to be copied
    said = {None: "", True: "incident", False: "no incident"}
    for row in rows:
        table.add_row(
            escape(row["incident_id"]),
            row["priority"],
            f"{row['severity']:.2f}",
            _state(row),
            escape(", ".join(row["metrics"][:2])),
            said[row["is_incident"]],
        )
    wide_console().print(table)


def _state(row: Mapping[str, Any]) -> str:
    """Whether it is open, what ended it where its metrics did not, and why nobody was told."""
    beside = ", ".join(filter(None, (row["ended_by"], row["quiet"])))
    return escape(f"{row['state']} ({beside})" if beside else row["state"])
