"""`treeline mute add | list | remove`: suppress alerts of a server, some servers, or the fleet."""

import argparse

from cli import windows
from cli.deployment import WHERE
from treeline.app.alert.controls import ControlKind

_EXAMPLES = f"""examples:
  treeline mute add --server web-042 --for 2h --reason "disk is being replaced" --by ann --stage prod
  treeline mute add --server 'batch-*' --until 2026-11-24T06:00 --reason "nightly load test" --by ann
  treeline mute add --label tier=web --label environment=test --for 1d --reason "new release" --by ann
  treeline mute add --fleet --for 30m --reason "network change" --by ann
  treeline mute list --json
  treeline mute remove 20261123T090000-3f9c1a

What is muted is still detected and stored. People get one `suppressed` event for each incident, and its page when the
mute ends while the incident is open. Times are those of the observations.
{WHERE}
Exit codes: 0 done, 1 not reachable, 2 wrong use."""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    parser.description = "Mute incidents: they are found and stored, and people are not paged for them."
    parser.epilog = _EXAMPLES
    windows.register(parser, "mute")


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    return windows.run(args, ControlKind.MUTE)
