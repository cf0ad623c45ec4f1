"""`treeline explain INCIDENT | --server X --at T`: why an incident opened, or why none did, and what it hung on."""

import argparse
import json
from pathlib import Path

from cli.deployment import WHERE, DeployedStage, add_profile, add_stage, reaching
from cli.explain_screen import show, show_moment
from cli.times import moment_ms
from demo.incident_files import IncidentFolder
from report.console import wide_console
from treeline.app.explain.incident_source import IncidentSource
from treeline.app.explain.moment import QuietMoment, explain_moment
from treeline.app.explain.service import Explanation, explain, resolve
from treeline.core.errors import UsageError

_EXAMPLES = f"""examples:
  treeline explain web-042/2026-11-22T15:58:30.000Z --stage prod
  treeline explain web-042/2026-11-22T15:58:30.000Z --run runs/demo      an incident of a `treeline demo`
  treeline explain web-042 --run runs/demo             its only incident; of several, the beginning of an id
  treeline explain --server web-042 --at 2026-11-22T15:58 --run runs/demo       why it did not page then
  treeline explain ID --run runs/demo --reproduce      rebuild its score bit for bit; exit code 1: it differs
  treeline explain ID --json | jq '.counterfactuals[].text'

--server and --at explain what did not page: the last observation up to then, each channel's measure beside its
thresholds, each metric beside its band, which rule was not met, and what would have paged. Where an incident was open
then, that one is explained. A run keeps the series of at most 40 servers without an incident, labelled ones first; a
stage keeps observations for two days. --reproduce rebuilds an incident only.
`treeline incident list` shows the incidents of a stage or a run.
{WHERE}
Exit codes: 0 explained (and reproduced), 1 not reproduced or not reachable, 2 wrong use."""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Measured, expected and band per metric, the score's path, the calibration, the persistence rule that fired, "
        "and what would have prevented the page, each checked by scoring it again with the incident's own forest. "
        "Or, for a server and a time: why nothing paged."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "incident", metavar="INCIDENT", nargs="?", help="its id, <server>/<time it opened>, or its start"
    )
    parser.add_argument("--server", metavar="X", help="with --at, instead of an incident: explain this server")
    parser.add_argument("--at", type=moment_ms, metavar="T", help="and the time to explain it at (ISO 8601, UTC)")
    parser.add_argument("--run", type=Path, metavar="DIR", help="a run's folder instead of a deployed stage")
    parser.add_argument(
        "--reproduce",
        action="store_true",
        help="rebuild features, scores and the opening, and say whether they are equal",
    )
    add_stage(parser)
    add_profile(parser)


def run(args: argparse.Namespace) -> int:
    """Explain; exit code 1 where a reproduction was asked for and something came out different."""
    if (args.server is None) is not (args.at is None) or (args.incident is None) is not (args.server is not None):
        raise UsageError("say what to explain: either INCIDENT, or --server X and --at T")
    if args.run is not None:
        return _explain(IncidentFolder(args.run), args)
    with reaching(DeployedStage.of(args)) as deployment:
        return _explain(deployment.source, args)


def _explain(source: IncidentSource, args: argparse.Namespace) -> int:
    if args.server is None:
        found: Explanation | QuietMoment = explain(source, resolve(source, args.incident), reproduce=args.reproduce)
    else:
        found = explain_moment(source, args.server, args.at, reproduce=args.reproduce)
    if args.json:
        print(json.dumps(found.to_json()))
    elif isinstance(found, QuietMoment):
        show_moment(found, wide_console())
    else:
        show(found, wide_console())
    if isinstance(found, QuietMoment):
        return 0
    return 1 if found.reproduction is not None and not found.reproduction.is_equal else 0
