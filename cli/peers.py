"""The peers that `--compare` sets beside ours."""

import os
from collections.abc import Callable, Iterator, Sequence

from training.evaluate.experiment import ExperimentOutcome, Setup, judge
from training.evaluate.peers.catalogue import PEERS, absent, entry
from training.evaluate.peers.rules import Rule
from training.evaluate.peers.run import run_peers
from training.history.files import History
from training.history.grid import Grid
from training.processes import Progress


def chosen_peers(names: str | None, note: Callable[[str], None]) -> list[str]:
    """The peers that a comma-separated list names; for None all whose packages are here, with a note on the others.

    Raises:
        UsageError: There is no peer of that name.
    """
    if names is not None:
        return [entry(name.strip()).name for name in names.split(",") if name.strip()]
    missing = absent()
    for peer in missing:
        note(f"{peer.name} left out: {peer.needs} is not installed (the extra `bench` has it)")
    return [peer.name for peer in PEERS if peer not in missing]


def rule_notes(names: Sequence[str], grid: Grid) -> list[str]:
    """A line for each rule among them: what it watches on this fleet."""
    rules = [peer for peer in map(entry, names) if isinstance(peer, Rule)]
    return [f"{rule.name}: {rule.says(grid)}" for rule in rules]


def judged_peers(
    names: Sequence[str],
    history: History,
    past: Grid,
    present: Grid,
    setup: Setup,
    *,
    note: Callable[[str], None],
    progress: Progress,
) -> Iterator[ExperimentOutcome]:
    """Each peer's pages judged as ours are, in the order in which they finish; notes what each took."""
    workers = min(2, os.cpu_count() or 1)
    for name, detected, seconds in run_peers(names, past, present, setup, workers=workers, progress=progress):
        note(f"{name}: {seconds:.1f} processor seconds")
        yield judge(name, history, present, detected)
