"""A server's time zone: from its label, else the stage's; live and in a replay the same."""

import numpy as np

from treeline.app.detect.origin import Origin, Origins
from treeline.app.detect.season_blocks import SeasonBlocks
from treeline.app.detect.zones import KEPT_MS, ServerZones
from treeline.core.detection.policy import PolicySettings
from treeline.core.expectation import season
from treeline.core.expectation.local_time import offsets_s
from treeline.core.state.fleet import FleetState
from treeline.core.times import parse_iso

BERLIN = "Europe/Berlin"


class Labels:
    """Labels by server, which counts how often it was asked."""

    def __init__(self, **timezone: str) -> None:
        self.timezone, self.asked = timezone, 0

    def of(self, server_id: str) -> dict[str, str]:
        self.asked += 1
        return {"timezone": self.timezone[server_id]} if server_id in self.timezone else {"role": "web"}


def test_a_label_goes_before_the_stages_zone_and_what_is_no_zone_is_told_and_left():
    told = []
    labels = Labels(a="Asia/Kolkata", b="Berlin")
    zones = ServerZones(default=BERLIN, labels=labels, on_unknown=lambda server, name: told.append((server, name)))
    assert zones.of(["a", "b", "c"]).of(["a", "b", "c"]).tolist() == ["Asia/Kolkata", BERLIN, BERLIN]
    assert told == [("b", "Berlin")]


def test_a_label_is_read_once_a_day():
    now = [0]
    labels = Labels(a="Asia/Kolkata")
    zones = ServerZones(labels=labels, clock_ms=lambda: now[0])
    zones.of(["a"])
    labels.timezone["a"], now[0] = BERLIN, KEPT_MS - 1
    assert (zones.of(["a"]).own, labels.asked) == ({"a": "Asia/Kolkata"}, 1)
    now[0] = KEPT_MS
    assert (zones.of(["a"]).own, labels.asked) == ({"a": BERLIN}, 2)


def kept_slots(at: str, zone: str) -> tuple[set[int], Origin]:
    """Which quarter hours of a weekend an origin of that time has of a table that is full."""
    now = parse_iso(at)
    state = FleetState(1, servers=["a"])
    state.season_level[:], state.last_at[:] = 1.0, now
    offset = offsets_s(np.array([zone], dtype=object), np.array([now])).astype(np.int64)
    state.slot[:] = season.slot_of(now + 1000 * offset)
    state.above_p2[:] = 1
    zones = np.array([zone], dtype=object)
    origins = Origins(0, "m", state.copy(), {}, {}, PolicySettings(), (), zones, SeasonBlocks(None))
    origin = Origin.unpack(origins.packed(state, [])["a"])
    return set(np.flatnonzero(np.isfinite(origin.state.season_level[0, 1, :, 0])).tolist()), origin


def test_an_origin_has_its_servers_zone_and_all_of_the_table_that_two_hours_need():
    """Both around a change of the clocks: what comes is later by an hour, or an hour comes again."""
    for at, first, last in (
        ("2026-03-29T00:30:00Z", "01:30", "04:30"),  # from 02:00 to 03:00
        ("2026-10-25T00:30:00Z", "02:00", "03:30"),  # from 03:00 back to 02:00
        ("2026-06-28T00:30:00Z", "02:30", "04:30"),
    ):
        kept, origin = kept_slots(at, BERLIN)
        quarters = [int(clock[:2]) * 4 + int(clock[3:]) // 15 for clock in (first, last)]
        assert set(range(quarters[0], quarters[1] + 1)) <= kept, at
        assert len(kept) <= 20, "and not much more"
        assert origin.zone == BERLIN
