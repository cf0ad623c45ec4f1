"""`treeline maintenance add | list | remove`: planned work, in which nobody is paged and nothing is learned."""

import argparse

from cli import windows
from cli.deployment import WHERE
from treeline.app.alert.controls import ControlKind

_EXAMPLES = f"""examples:
  treeline maintenance add --server 'db-*' --from 2026-11-28T22:00 --for 4h --reason "major upgrade" --by ann
  treeline maintenance add --fleet --from 2026-12-01T02:00 --until 2026-12-01T03:30 --reason "kernel patches" --by ops
  treeline maintenance list
  treeline maintenance remove 20261128T220000-77ab02

A window mutes as `treeline mute` does, and its hours are left out of training and of drift.
{WHERE}
Exit codes: 0 done, 1 not reachable, 2 wrong use."""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    parser.description = "Maintenance windows: nobody is paged for what they cover, and nothing is learned from it."
    parser.epilog = _EXAMPLES
    windows.register(parser, "maintenance window")


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    return windows.run(args, ControlKind.MAINTENANCE)
