"""`treeline demo --learn`: the learning loop, played and judged."""

import argparse
import json
from pathlib import Path

from rich.table import Table

from demo.learn.fleet import LearnPlan
from demo.learn.run import Story, learn
from demo.overrides import overrides
from demo.screen import DemoScreen
from treeline.core.errors import UsageError

PROMOTED, ROLLED_BACK = "promoted", "rolled-back"
ENDINGS = (PROMOTED, ROLLED_BACK)
HELP = (
    "play the learning loop instead: history, first model, a level shift, drift, retraining, canary; "
    "the new model is promoted, or (rolled-back) is one sd off and must go"
)


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the one option."""
    parser.add_argument("--learn", nargs="?", const=PROMOTED, choices=ENDINGS, help=HELP)


def run(args: argparse.Namespace) -> int:
    """Play it; 0 when it ended as it should."""
    servers = args.servers or str(LearnPlan().servers)
    if not servers.isdigit() or int(servers) < 10:
        raise UsageError(f"--learn needs a number of servers, 10 at least (they share a fleet cycle), got {servers!r}")
    if args.data is not None:
        raise UsageError("--learn plays a fleet of its own; leave --data out")
    screen = DemoScreen(as_json=args.json)
    output = Path("runs/learn") if args.out == Path("runs/demo") else args.out
    bias_sd = 1.0 if args.learn == ROLLED_BACK else 0.0
    plan = LearnPlan(
        servers=int(servers), seed=args.seed, bias_sd=bias_sd, output=output, overrides=overrides(args.settings)
    )
    story = learn(plan, screen)
    screen.console.print(scoreboard(story))
    for problem in story.problems:
        screen.console.print(f"[bold red]Not so:[/] {problem}")
    screen.console.print(f"  [bold]{output / 'summary.json'}[/] has every event and every day's drift")
    if args.json:
        print(json.dumps(story.to_json()))
    return 0 if story.ok else 1


def scoreboard(story: Story) -> Table:
    """The figures of one run."""
    table = Table(show_header=False, box=None, padding=(0, 2))
    rows = (
        ("event time", f"{story.days} days, {story.records:,} observations"),
        ("breaches before retraining", str(story.breaches)),
        ("retrainings", str(story.trainings)),
        ("canary", f"{story.canary_h:g} h on {story.canary_servers} servers"),
        ("ended as", story.outcome.replace("_", " ") + (f": {story.why}" if story.why else "")),
        ("pages by the new model", str(story.pages_by_second)),
        ("active model", f"{story.active_model} (first {story.first_model}, second {story.second_model})"),
        ("wall time", f"{story.wall_s:.0f} s"),
        ("of it", ", ".join(f"{what} {spent:.0f}" for what, spent in story.wall_by_part.items())),
    )
    for name, value in rows:
        table.add_row(name, value)
    return table
