"""`treeline local up | status | dashboard | down`: the embedded cloud by itself, to deploy to and look around in."""

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from cli import local_dashboard
from emulator.launcher import DEFAULT_PORT, CloudConnection, CloudError, EmbeddedCloud
from treeline.core.errors import UsageError

_EXAMPLES = """examples:
  treeline local up                         the embedded cloud on port 4566, until Ctrl-C
  treeline local up --deploy build/cdk.out  with the stacks of a synthesized assembly in it
  treeline local status --json              what runs, as JSON
  treeline local dashboard                  where its dashboards are to be seen
  treeline local dashboard --save pages     the same as files that need nothing running
  treeline local down                       end it from another terminal
"""
_REFRESH_S = 0.5
_DOWN_TIMEOUT_S = 10.0


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `treeline local`."""
    parser.description = "Run the embedded cloud: AWS enough for Treeline's own templates, on loopback only."
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", required=True, metavar="up | status | dashboard | down")
    up = actions.add_parser("up", help="start it and show its state until Ctrl-C")
    up.add_argument("--deploy", type=Path, metavar="DIR", help="deploy the cloud assembly in DIR first")
    up.add_argument("--directory", type=Path, metavar="DIR", help="keep its log here (default: thrown away)")
    for name, text in (("status", "show whether it runs, and what it has done"), ("down", "end it")):
        actions.add_parser(name, help=text)
    dashboard = actions.add_parser("dashboard", help="show where its dashboards are, or save them as files")
    dashboard.add_argument("--save", type=Path, metavar="DIR", help="write each dashboard as one HTML file to DIR")
    for action in actions.choices.values():
        action.add_argument(
            "--port", type=int, default=DEFAULT_PORT, help="TCP port on 127.0.0.1 (default %(default)s)"
        )
        action.add_argument("--json", action="store_true", help="JSON on stdout, everything else on stderr")


def run(args: argparse.Namespace) -> int:
    """Run one of them; exit code 0 when done, 1 when `status` or `dashboard` finds nothing running."""
    if not 0 <= args.port <= 65_535:
        raise UsageError(f"--port must be in [0, 65535], got {args.port}")
    return {"up": _up, "status": _status, "dashboard": local_dashboard.run, "down": _down}[args.action](args)


def state_path(port: int) -> Path:
    """The file by which `status` and `down` find what `up` started; one for each port and user."""
    return Path(tempfile.gettempdir()) / f"treeline-local-{os.getuid()}-{port}.json"


def _up(args: argparse.Namespace) -> int:
    console = Console(stderr=args.json)
    ended = threading.Event()
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda *_: ended.set())
    with EmbeddedCloud(args.port, args.directory) as cloud:
        port = int(cloud.endpoint_url.rsplit(":", 1)[1])
        path = state_path(port)
        state: dict[str, Any] = {
            "endpoint_url": cloud.endpoint_url,
            "port": port,
            "pid": os.getpid(),
            "cloud_pid": cloud.pid,
            "log": str(cloud.log_path),
            "pagerduty_url": cloud.pagerduty.url,
        }
        path.write_text(json.dumps(state))
        try:
            if args.deploy is not None:
                report = cloud.deploy(args.deploy)
                state["outputs"] = report.outputs
                state["no_ops"] = [no_op._asdict() for no_op in report.no_ops]
                path.write_text(json.dumps(state))
            if args.json:
                print(json.dumps(state), flush=True)
                ended.wait()
            else:
                _show(cloud, state, console, ended)
        finally:
            path.unlink(missing_ok=True)
    return 0


def _show(cloud: EmbeddedCloud, state: dict[str, Any], console: Console, ended: threading.Event) -> None:
    console.print(f"The embedded cloud answers at [bold]{cloud.endpoint_url}[/bold] (loopback only); Ctrl-C ends it.")
    for stack, outputs in state.get("outputs", {}).items():
        console.print(f"  {stack}: {sum(not key.startswith('PublishOutput') for key in outputs)} outputs")
    for no_op in state.get("no_ops", []):
        console.print(f"  [dim]not done here: {no_op['type']}, {no_op['not_done']}[/dim]")
    with Live(_table(cloud.status()), console=console, refresh_per_second=2) as live:
        while not ended.wait(_REFRESH_S):
            live.update(_table(cloud.status()))


def _table(status: dict[str, Any]) -> Table:
    table = Table(show_header=False)
    table.add_row("up for", f"{status['uptime_s']:.0f} s")
    table.add_row("resident memory", f"{status['resident_bytes'] / 1e6:.0f} MB")
    table.add_row("functions warm", str(sum(status["workers"].values())))
    table.add_row("records waiting in Kinesis", str(status["kinesis_backlog"]))
    for name, value in sorted(status["counters"].items()):
        table.add_row(name.replace("_", " "), str(value))
    return table


def _read_state(port: int) -> dict[str, Any] | None:
    path = state_path(port)
    return dict(json.loads(path.read_text())) if path.is_file() else None


def _status(args: argparse.Namespace) -> int:
    state = _read_state(args.port) or {"endpoint_url": f"http://127.0.0.1:{args.port}"}
    try:
        status = CloudConnection(state["endpoint_url"]).status()
    except CloudError:
        if args.json:
            print(json.dumps({"running": False, "endpoint_url": state["endpoint_url"]}))
        else:
            print(f"no embedded cloud runs on port {args.port}")
        return 1
    if args.json:
        print(json.dumps({"running": True, **state, **status, "pid": state.get("pid", status["pid"])}))
    else:
        Console().print(state["endpoint_url"], _table(status))
    return 0


def _down(args: argparse.Namespace) -> int:
    state = _read_state(args.port)
    try:
        status = CloudConnection(f"http://127.0.0.1:{args.port}").status()
    except CloudError:
        state_path(args.port).unlink(missing_ok=True)
        _say(args, {"stopped": False}, f"no embedded cloud runs on port {args.port}")
        return 0
    # The state file may be older than what now holds the port: only the process that answers is ended.
    starter = state["pid"] if state and state.get("cloud_pid") == status["pid"] else status["pid"]
    os.kill(starter, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            CloudConnection(f"http://127.0.0.1:{args.port}").status()
        except CloudError:
            _say(args, {"stopped": True}, f"the embedded cloud on port {args.port} has ended")
            return 0
        time.sleep(0.05)
    print(f"the embedded cloud on port {args.port} has not ended within {_DOWN_TIMEOUT_S:.0f} s", file=sys.stderr)
    return 1


def _say(args: argparse.Namespace, value: dict[str, Any], text: str) -> None:
    print(json.dumps(value) if args.json else text)
