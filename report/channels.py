"""The reference of the channels, docs/channels.md, from the registry: `python -m report.channels`."""

from pathlib import Path

from treeline.core.channels import registry
from treeline.core.channels.channel import Channel

PAGE = Path(__file__).resolve().parents[1] / "docs" / "channels.md"
_HEAD = """\
# Channels

*Made from `treeline/core/channels/registry.py` by `make channels`; do not edit by hand.*

A channel is one way to look at a server. It turns each observation into one number. Its *measure* is how far that
number is from what is usual for this server, in standard deviations. The channel's two thresholds turn the measure
into a severity (P2 from 1.5 on, P1 above 3.0), and the largest severity of all channels is the server's. Why these
channels: [decision 20](decisions/0020-detection-channels.md).

"""
_FOOT = """
**Where thresholds come from.** The last column says how rare a measure must be: 2 is one page in 100 server-weeks, 0 is
one a server-week, -0.25 is 1.8. Training fits a line to how often the channel rose to which measure in a held-out part
of the fleet's own unlabelled past, 20 to 2.5 times a server-week, and carries it on. What that gives is the threshold,
unless the floor is higher. `treeline calibrate` moves the thresholds until a budget of pages holds, and `treeline
explain` says of an incident how rare its measure is.

**Model evidence** (the forest's score and the relation) opens an incident only above what the same server reached in
earlier hours. That peak fades by a factor of ten in rarity a day, and never asks for more than the tier and two such
factors. What it holds back is listed by `treeline backtest` and by `treeline explain --at`.

For an experiment, `model.calibration.<channel>` in a `--config` sets that channel's `p2` or `p1` or both; whatever it
does not name stays as fitted.

**A new channel** is a module in `treeline/core/channels/` and an entry in `registry.py`. The detector's state,
training, calibration, `treeline explain` and this page follow the registry. States and packages that were stored
earlier stay readable: until the next training the new channel's averages start from their initial values, and its
thresholds are its floors. `tests/offline/test_toy_channel.py` adds one.
"""


def page() -> str:
    """The whole document."""
    columns = (
        *("channel", "when it fires", "what it looks at", "metrics become one number by", "compared with"),
        *("may be switched off for a server", "floors P2, P1", "rarity P2, P1"),
    )
    rows = [columns, ("---",) * len(columns), *map(_row, registry.every_channel())]
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows) + _FOOT


def _row(channel: Channel) -> tuple[str, ...]:
    return (
        f"`{channel.name}`: {channel.title}",
        channel.meaning,
        channel.view,
        channel.aggregate,
        channel.past(),
        "where training shows it to fire at the same times of day" if channel.can_be_gated else "no",
        f"{channel.floors.p2:g}, {channel.floors.p1:g}",
        f"{channel.rarity.p2:g}, {channel.rarity.p1:g}",
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
