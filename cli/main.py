"""The `treeline` command: finds the sub-command, turns errors into one line and an exit code."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from treeline import __version__
from treeline.core.errors import TreelineError, UsageError

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

# Modules by name, not by import: a command loads only what it needs, and nothing imports `cli`.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("cli.demo", "watch the whole system find incidents in a replayed fleet"),
    "backtest": ("cli.backtest", "judge the pages that a labelled history would have brought"),
    "tune": ("cli.tune", "search forest and pipeline settings, every trial in MLflow"),
    "calibrate": ("cli.calibrate", "thresholds from a page budget and the fleet's own unlabelled past"),
    "quality": ("cli.quality", "the release gate: fixed backtests held against recorded figures"),
    "incident": ("cli.incident", "list incidents, and label what they were"),
    "explain": ("cli.explain", "why an incident opened, and what would have prevented it"),
    "mute": ("cli.mute", "keep people from being paged for a server, some, or all"),
    "maintenance": ("cli.maintenance", "maintenance windows: nobody is paged, nothing is learned"),
    "server": ("cli.server", "take a server out of service: its incident ends, nobody waits for it"),
    "threshold": ("cli.threshold", "change a running stage's thresholds, and take it back"),
    "shadow": ("cli.shadow", "what would have paged, before anybody is"),
    "local": ("cli.local", "the embedded cloud: up, status, dashboard, down"),
    "fleet": ("cli.fleet", "generate a labelled fleet of any size"),
    "model": ("cli.model", "what was registered, what is in use, how training runs went"),
    "history": ("cli.history", "a fleet's past out of CloudWatch: plan, fetch, audit"),
    "cost": ("cli.cost", "what a stage costs a month, line by line, before it is deployed"),
    "doctor": ("cli.doctor.command", "what a deployment lacks, before and after, and what to do"),
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> None:  # type: ignore[override]  # argparse exits here, we raise
        raise UsageError(f"{message} (see {self.prog} --help)")


def _overview() -> argparse.ArgumentParser:
    commands = "\n".join(f"  {name:<12}{text}" for name, (_, text) in COMMANDS.items())
    return _Parser(
        prog="treeline",
        description="Fleet-wide server anomaly detection inside your own AWS account.",
        usage="treeline COMMAND [options]",
        epilog=f"commands:\n{commands}\n\nMore: treeline COMMAND --help. Exit codes: 0 done, 1 failed, 2 wrong use.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns its exit code and lets TreelineError through."""
    overview = _overview()
    overview.add_argument("--version", action="version", version=f"treeline {__version__}")
    if not arguments or arguments[0].startswith("-"):
        overview.parse_args(arguments)
        overview.print_help()
        return OK
    name, *rest = arguments
    if name not in COMMANDS:
        raise UsageError(f"no command {name!r}; there are: {', '.join(COMMANDS)}")
    module = importlib.import_module(COMMANDS[name][0])
    parser = _Parser(prog=f"treeline {name}", formatter_class=argparse.RawDescriptionHelpFormatter)
    module.register(parser)
    return int(module.run(parser.parse_args(rest)))


def main() -> None:
    """Entry point of the `treeline` script."""
    try:
        code = run(sys.argv[1:])
    except UsageError as error:
        print(f"treeline: {error}", file=sys.stderr)
        code = USAGE
    except TreelineError as error:
        print(f"treeline: {error}", file=sys.stderr)
        code = FAILED
    except KeyboardInterrupt:
        print("treeline: interrupted", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
