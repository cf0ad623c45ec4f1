"""What mutes and maintenance windows have in common on the command line: add, list, remove."""

import argparse
import json
import re
import secrets
import time
from collections.abc import Callable, Sequence

from rich.markup import escape
from rich.table import Table

from cli.deployment import DeployedStage, add_stage, reaching
from cli.times import duration_ms, moment_ms, window_ms
from report.console import wide_console
from treeline.app.alert.controls import Control, ControlKind, Scope
from treeline.core.errors import UsageError
from treeline.core.times import iso

_LONGEST_ID, _LONGEST_TEXT = 256, 1000


def register(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare add, list and remove."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="add | list | remove")
    add = verbs.add_parser("add", help=f"add a {what}")
    scope = add.add_mutually_exclusive_group(required=True)
    scope.add_argument("--server", metavar="ID", help="a server, or a pattern with * and ?")
    scope.add_argument(
        "--label", action="append", metavar="NAME=VALUE", help="servers with this label; may be repeated"
    )
    scope.add_argument("--fleet", action="store_true", help="every server, and incidents they share")
    add.add_argument("--from", dest="start_ms", type=moment_ms, metavar="TIME", help="starts then (default: now)")
    end = add.add_mutually_exclusive_group()
    end.add_argument("--until", dest="until_ms", type=moment_ms, metavar="TIME", help="ends then (ISO 8601, UTC)")
    end.add_argument("--for", dest="for_ms", type=duration_ms, metavar="DURATION", help="lasts so long: 90m, 2h, 3d")
    add.add_argument("--reason", required=True, help="why; shown to everybody")
    add.add_argument("--by", required=True, metavar="WHO", help="who asks for it")
    show = verbs.add_parser("list", help=f"show every {what} that is not over")
    show.add_argument("--all", action="store_true", help="also those that are over")
    remove = verbs.add_parser("remove", help=f"end a {what} now, by its id")
    remove.add_argument("id", help="as `list` shows it")
    for verb in (add, show, remove):
        add_stage(verb)


def run(
    args: argparse.Namespace,
    kind: ControlKind,
    *,
    clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    token: Callable[[], str] = lambda: secrets.token_hex(3),
) -> int:
    """Do what was asked; the clock and the token of a new id are arguments for tests."""
    control = _control(args, kind, clock_ms(), token()) if args.verb == "add" else None  # checked before AWS is asked
    with reaching(DeployedStage.of(args)) as deployment:
        if control is not None:
            deployment.controls.put(control)
            _say(args, [control], clock_ms())
        elif args.verb == "list":
            every = deployment.controls.windows(kind)
            _say(args, [c for c in every if args.all or c.until_ms > clock_ms()], clock_ms())
        elif not deployment.controls.remove(kind, args.id):
            raise UsageError(f"there is no {kind} with id {args.id!r}; `treeline {kind} list --all` shows them")
        elif args.json:
            print(json.dumps({"removed": args.id}))
        else:
            print(f"removed {kind} {args.id}")
    return 0


def _control(args: argparse.Namespace, kind: ControlKind, now_ms: int, token: str) -> Control:
    start_ms, until_ms = window_ms(args.start_ms, args.until_ms, args.for_ms, now_ms)
    for name in ("reason", "by"):
        text = getattr(args, name)
        if not text.strip() or len(text) > _LONGEST_TEXT:
            raise UsageError(f"--{name} must be 1 to {_LONGEST_TEXT} characters, got {len(text.strip())}")
    if args.server is not None and not 0 < len(args.server.encode()) <= _LONGEST_ID:
        raise UsageError(f"--server must be 1 to {_LONGEST_ID} bytes, got {args.server[:50]!r}")
    return Control(
        kind=kind,
        id=f"{re.sub('[-:]|[.].*', '', iso(start_ms))}-{token}",
        scope=Scope(server=args.server or "", labels=_labels(args.label or []), fleet=args.fleet),
        starts_ms=start_ms,
        until_ms=until_ms,
        reason=args.reason.strip(),
        by=args.by.strip(),
        created_ms=now_ms,
    )


def _labels(pairs: Sequence[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise UsageError(f"--label is NAME=VALUE, got {pair!r}")
        if labels.get(name, value) != value:
            raise UsageError(f"--label names {name!r} twice, with different values: no server has both")
        labels[name] = value
    return labels


def _say(args: argparse.Namespace, controls: Sequence[Control], now_ms: int) -> None:
    if args.json:
        print(json.dumps([control.to_json() for control in controls]))
        return
    if not controls:
        print("none")
        return
    table = Table("id", "what", "from", "until", "state", "by", "reason", box=None, header_style="dim")
    for control in controls:
        state = "over" if control.until_ms <= now_ms else "in force" if control.starts_ms <= now_ms else "to come"
        starts, until = (iso(at)[:16].replace("T", " ") for at in (control.starts_ms, control.until_ms))
        table.add_row(
            control.id, escape(str(control.scope)), starts, until, state, escape(control.by), escape(control.reason)
        )
    wide_console().print(table)
