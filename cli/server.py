"""`treeline server retire`: take a server out of service, so that nothing waits for it."""

import argparse
import json
import sys
import time
from collections.abc import Callable

from cli.deployment import WHERE, DeployedStage, add_profile, add_stage, reaching
from cli.threshold import add_signature, signature
from treeline.app.detect.retirement import Retirement
from treeline.app.explain.incident_source import LATEST_MS
from treeline.aws.detect.retirements import RetiredServers, ServiceRecord
from treeline.core.alert import AlertEvent
from treeline.core.times import iso
from treeline.settings import outputs

_EXAMPLES = f"""examples:
  treeline server retire web-042 --reason "disk replaced" --by ann --stage prod
  treeline server retire web-042 --reason "scaled in" --by autoscaling --yes --json
  treeline server retire node-7 --reason "gone" --by ann --stage prod --profile batch   of a further profile

`retire` shows what would end and asks; --yes does not ask. At the next heartbeat, within a minute, the server's open
incident is resolved as "retired: REASON", PagerDuty closes it, and the server counts neither as expected nor as silent.
Stop its agent first: whatever is received after the command is of a new server of the same name, which has to warm up.
So replaced hardware may keep its name. To repeat the command changes nothing.
{WHERE}
Exit codes: 0 retired (now or before), 1 nothing changed or not reachable, 2 wrong use."""
_STILL_SENDING_MS = 120_000


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    parser.description = "Servers: take one out of service."
    parser.epilog = _EXAMPLES
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="retire")
    retire = verbs.add_parser("retire", help="end a server's incident and wait for it no more")
    retire.add_argument("server", metavar="SERVER", help="its server_id")
    add_signature(retire)
    add_stage(retire)
    add_profile(retire)


def run(args: argparse.Namespace, *, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> int:
    """Do what was asked."""
    signed = signature(args, clock_ms())  # checked before AWS is asked
    with reaching(DeployedStage.of(args)) as deployment:
        servers = RetiredServers(
            deployment.client("dynamodb"),
            servers_table=deployment.output(outputs.SERVERS_TABLE),
            controls_table=deployment.output(outputs.CONTROLS_TABLE),
            observations_table=deployment.output(outputs.OBSERVATIONS_TABLE),
        )
        server = servers.find(args.server)
        if server.is_retired:
            return _say(args, server.counted, incident="", changed=False)
        incident = _open_incident(deployment, args.server)
        if not args.json:
            print(_what_ends(server, incident, now_ms=signed.created_ms))
        if not (args.yes or _is_confirmed(args)):
            return _say(args, None, incident=incident, changed=False)
        retirement = Retirement(
            server_id=args.server,
            group=server.group,
            reason=signed.reason,
            by=signed.by,
            retired_ms=clock_ms(),  # after the question: what came while somebody thought is of the old server
        )
        servers.put(retirement, before=server)
    return _say(args, retirement, incident=incident, changed=True)


def _open_incident(deployment: DeployedStage, server_id: str) -> str:
    """The id of the server's open incident; empty where there is none. Only its last one can be open."""
    last = deployment.incidents.of_server(server_id, 0, LATEST_MS)[-1:]
    alerts = deployment.incidents.find(last[0]) if last else None
    return last[0] if alerts and alerts[-1].event is not AlertEvent.RESOLVED else ""


def _what_ends(server: ServiceRecord, incident: str, *, now_ms: int) -> str:
    lines = [f"{server.server_id}: group {server.group}, last received {iso(server.received_ms)}"]
    if now_ms - server.received_ms < _STILL_SENDING_MS:
        lines.append("It still sends: stop its agent first, or it comes back at once as a new server of this name.")
    lines.append(f"Ends: {incident}" if incident else "It has no open incident.")
    lines.append("All that was learned of it is forgotten.")
    return "\n".join(lines)


def _is_confirmed(args: argparse.Namespace) -> bool:
    """Ask, where somebody can answer."""
    if args.json or not sys.stdin.isatty():
        return False
    return input("retire it? [y/N] ").strip().lower() in ("y", "yes")


def _say(args: argparse.Namespace, retirement: Retirement | None, *, incident: str, changed: bool) -> int:
    """Tell what was done; the exit code."""
    if args.json:
        body = {"retired": retirement and retirement.to_json(), "changed": changed, "open_incident": incident or None}
        print(json.dumps(body))
    elif retirement is None:
        print("nothing changed (--yes retires it)")
    elif changed:
        print(f"{retirement.server_id} is retired; its incident ends at the next heartbeat, within a minute")
    else:
        when = iso(retirement.retired_ms)
        print(f"{retirement.server_id} was retired by {retirement.by} at {when}: {retirement.reason}; nothing changed")
    return 1 if retirement is None else 0
