"""`treeline explain INCIDENT`: why it opened, and what would have had to be otherwise for it not to."""

import argparse
import json
from pathlib import Path

from cli.deployment import WHERE, DeployedStage, add_profile, add_stage, reaching
from cli.explain_screen import show
from cli.times import wide_console
from demo.incident_files import IncidentFolder
from treeline.app.explain.incident_source import IncidentSource
from treeline.app.explain.service import explain

_EXAMPLES = f"""examples:
  treeline explain web-042/2026-11-22T15:58:30.000Z --stage prod
  treeline explain web-042/2026-11-22T15:58:30.000Z --run runs/demo      an incident of a `treeline demo`
  treeline explain ID --run runs/demo --reproduce      rebuild its score bit for bit; exit code 1: it differs
  treeline explain ID --json | jq '.counterfactuals[].text'

`treeline incident list` shows the incidents of a stage or a run.
{WHERE}
Exit codes: 0 explained (and reproduced), 1 not reproduced or not reachable, 2 wrong use."""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "Measured, expected and band per metric, the score's path, the calibration, the persistence rule that fired, "
        "and what would have prevented the page, each checked by scoring it again with the incident's own forest."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("incident", metavar="INCIDENT", help="its id: <server>/<time it opened>")
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
    if args.run is not None:
        return _explain(IncidentFolder(args.run), args)
    with reaching(DeployedStage.of(args)) as deployment:
        return _explain(deployment.source, args)


def _explain(source: IncidentSource, args: argparse.Namespace) -> int:
    explanation = explain(source, args.incident, reproduce=args.reproduce)
    if args.json:
        print(json.dumps(explanation.to_json()))
    else:
        show(explanation, wide_console())
    return 1 if explanation.reproduction is not None and not explanation.reproduction.is_equal else 0
