"""`treeline local dashboard`: where the deployed dashboards are to be seen, or the pages as files."""

import argparse
import json
from datetime import UTC, datetime, timedelta

from emulator.dashboard import data
from emulator.dashboard.service import PATH, save
from emulator.launcher import CloudConnection, CloudError
from emulator.loopback.gateway import ADMIN


def run(args: argparse.Namespace) -> int:
    """Print the address of each dashboard, or save them; 1 when no cloud runs or nothing is deployed."""
    cloud = CloudConnection(f"http://127.0.0.1:{args.port}")
    try:
        uptime_s = float(cloud.status()["uptime_s"])
    except CloudError:
        print(json.dumps({"running": False}) if args.json else f"no embedded cloud runs on port {args.port}")
        return 1
    names = list(data.dashboards(cloud.client))
    if args.save is None:
        told = {name: f"{cloud.endpoint_url}{ADMIN}{PATH}/{name}" for name in names}
    else:
        saved = save(cloud.client, args.save, since=datetime.now(UTC) - timedelta(seconds=uptime_s))
        told = {path.stem: str(path) for path in saved}
    if args.json:
        print(json.dumps(told))
    else:
        print("\n".join(f"{name:<10} {where}" for name, where in told.items()) or "no dashboard is deployed")
    return 0 if told else 1
