"""`treeline threshold apply | list | show | revert`: thresholds of a stage, changed while it runs and on the record."""

import argparse
import json
import re
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cli import threshold_screen as screen
from cli.deployment import WHERE, DeployedStage, add_profile, add_stage, reaching
from cli.overridden_stage import OverriddenStage, Signature
from cli.threshold_budget import of_budget
from cli.threshold_change import WantedSettings, leaves, of_file, to_json
from training.evaluate.budget import Budget
from treeline.app.detect.override import Override
from treeline.core.errors import UsageError
from treeline.core.times import iso

_EXAMPLES = f"""examples:
  treeline calibrate --data fleet.parquet --budget "1 P1 and 2 P2 per server-month" --stage prod --out solved.zip
  treeline threshold apply solved.zip --reason "budget of november" --by ann --stage prod
  treeline threshold apply --budget "1 P1 and 2 P2 per server-month" --days 14 --reason "too many pages" --by ann
  treeline threshold show --stage prod
  treeline threshold list --json
  treeline threshold revert --reason "missed the outage of monday" --by ann --yes
  treeline threshold revert 20261123T090000-3f9c1a --reason "as it was in october" --by ann

`apply` shows what would change and asks; --yes does not ask. FILE is what `treeline calibrate` wrote (--out or --json),
or JSON of your own that names what shall change: {{"policy": {{"needed": 3, "of_last": 5}}}}, or, with the model that
it is for, {{"model_version": "..", "calibration": {{"day": {{"p2": 4.2}}}}}}. With --budget the thresholds that decide
are raised until the stage's own incidents of the last days keep to it; those labelled as real are not counted.
The next tick decides by them; nothing is deployed.

Thresholds are a model's: they end when another one is promoted, whose package has its own. Policy and forest settings
stay until they are reverted; the forest's count from the next training run on.
{WHERE}
Exit codes: 0 done, 1 nothing changed or not reachable, 2 wrong use."""
_LONGEST_TEXT = 1000
_DAYS = 7.0


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    parser.description = "Change the thresholds of a running stage: recorded, reversible, without a deployment."
    parser.epilog = _EXAMPLES
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="apply | list | show | revert")
    apply = verbs.add_parser("apply", help="put thresholds, policy or forest settings in place of the stage's own")
    source = apply.add_mutually_exclusive_group(required=True)
    source.add_argument("file", nargs="?", type=Path, metavar="FILE", help="what calibrate wrote, or JSON")
    source.add_argument("--budget", metavar="TEXT", help='such as "1 P1 and 2 P2 per server-month"')
    apply.add_argument("--days", type=float, metavar="N", help=f"of stored incidents, for --budget (default {_DAYS:g})")
    revert = verbs.add_parser("revert", help="go back to what counted before, or to an entry of the record")
    revert.add_argument("id", nargs="?", metavar="ID", help="as `list` shows it (default: one step back)")
    show = verbs.add_parser("show", help="what decides now, value by value")
    history = verbs.add_parser("list", help="every change, newest first")
    for verb in (apply, revert):
        add_signature(verb)
    for verb in (apply, revert, show, history):
        add_stage(verb)
        add_profile(verb)


def add_signature(parser: argparse._ActionsContainer, *, required: bool = True) -> None:
    """The options of whatever changes what a stage decides by."""
    parser.add_argument("--reason", required=required, help="why; kept in the record")
    parser.add_argument("--by", required=required, metavar="WHO", help="who asks for it")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace, *, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> int:
    """Do what was asked."""
    now_ms = clock_ms()
    if args.verb in ("list", "show"):
        with reaching(DeployedStage.of(args)) as deployment:
            return _show(args, OverriddenStage.of(deployment))
    if args.verb == "apply":
        _check(args)
    signed = signature(args, now_ms)
    with reaching(DeployedStage.of(args)) as deployment:
        stage = OverriddenStage.of(deployment)
        if args.verb == "revert":
            return settle(args, stage, stage.back_to(args.id, signed))
        if args.budget is None:
            return settle(args, stage, stage.entry(of_file(args.file, stage.package, stage.in_force), signed))
        change = of_budget(
            deployment,
            args.budget,
            days=_DAYS if args.days is None else args.days,
            now_ms=now_ms,
            package=stage.package,
            in_force=stage.in_force,
            current=stage.current,
        )
        return settle(args, stage, stage.entry(change, signed))


def apply_change(args: argparse.Namespace, make: Callable[[OverriddenStage], WantedSettings]) -> int:
    """Apply what `make` makes of a stage's present thresholds; for other commands with `add_signature`'s options."""
    signed = signature(args, time.time_ns() // 1_000_000)
    with reaching(DeployedStage.of(args)) as deployment:
        stage = OverriddenStage.of(deployment)
        return settle(args, stage, stage.entry(make(stage), signed))


def signature(args: argparse.Namespace, now_ms: int) -> Signature:
    """Who, why and when; raises UsageError where one is missing."""
    for name in ("reason", "by"):
        text = getattr(args, name) or ""
        if not text.strip() or len(text) > _LONGEST_TEXT:
            raise UsageError(f"--{name} must be 1 to {_LONGEST_TEXT} characters, got {len(text.strip())}")
    id_ = f"{re.sub('[-:]|[.].*', '', iso(now_ms))}-{secrets.token_hex(3)}"
    return Signature(id=id_, by=args.by.strip(), reason=args.reason.strip(), created_ms=now_ms)


def settle(args: argparse.Namespace, stage: OverriddenStage, entry: Override) -> int:
    """Show what an entry changes, ask, and let it count; the exit code."""
    found = list(stage.differences(entry))
    if not args.json:
        if not found:
            print("nothing to change: this is what decides already")
            return 0
        screen.show_differences(found)
    is_wanted = bool(found) and (args.yes or _is_confirmed(args))
    if is_wanted:
        stage.put(entry)
    if args.json:
        body = {"applied": is_wanted, "changes": to_json(found), "override": entry.to_json() if is_wanted else None}
        print(json.dumps(body))
    else:
        print(f"applied as {entry.id}: the next tick decides by it" if is_wanted else "nothing applied (--yes applies)")
    return 0 if is_wanted or not found else 1


def _is_confirmed(args: argparse.Namespace) -> bool:
    """Ask, where somebody can answer."""
    if args.json or not sys.stdin.isatty():
        return False
    return input("apply? [y/N] ").strip().lower() in ("y", "yes")


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be done before anything is asked."""
    if args.days is not None and args.budget is None:
        raise UsageError("--days chooses stored incidents for --budget; say that too")
    if args.days is not None and not args.days > 0:
        raise UsageError(f"--days must be above 0, got {args.days:g}")
    if args.budget is not None:
        Budget.parse(args.budget, servers=1)
    elif not args.file.is_file():
        raise UsageError(f"{args.file} is not a file")


def _show(args: argparse.Namespace, stage: OverriddenStage) -> int:
    version = stage.package.model_version
    if args.verb == "list":
        entries = list(reversed(stage.table.history()))
        if args.json:
            print(json.dumps([{**e.to_json(), "state": screen.state_of(e, stage.current, version)} for e in entries]))
        elif entries:
            screen.show_entries(entries, stage)
        else:
            print("none: the model's own thresholds and the stage's own policy decide")
        return 0
    if args.json:
        body = {
            "model_version": version,
            "override": None if stage.current is None else stage.current.to_json(),
            "state": screen.told(stage.current, version),
            "own": dict(leaves(stage.package.calibration.to_json())),
            "in_force": dict(leaves(stage.in_force.to_json())),
        }
        print(json.dumps(body))
    else:
        screen.show_stage(stage)
    return 0
