"""The seasonal table: what folds into it, what is read from it, and what it is shrunk to while it is young."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.examples import FEW
from tests.unit.core.fleets import ready_state
from treeline.core.expectation import season
from treeline.core.expectation.season import FLOOR_SD, PRIOR_DAYS, SLOT_MS, SLOTS, TREND_DAYS

ROW = np.array([0])
MONDAY = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp() * 1000)
SATURDAY = MONDAY + 5 * 86_400_000


def blank(metrics=1, trend=0.0):
    state = ready_state(1, metrics)
    state.trend_mean[:] = trend
    return state


def gather(state, value, local):
    level = season.level_at(state, ROW, local)
    season.gather(state, ROW, level, season.distance_from(state, ROW, value, level))


def live(state, start_ms, values, *, step_s=300.0):
    """One server's values (n, metrics) from a local time on, each compared and then gathered."""
    for i, value in enumerate(np.asarray(values, dtype=np.float32).reshape(len(values), -1)):
        local = np.array([start_ms + round(i * step_s * 1000)])
        season.turn(state, ROW, season.slot_of(local), step_s=step_s)
        gather(state, value[None], local)


def days(state, first_ms, levels, *, step_s=300.0):
    """Whole days, each with one value all day long."""
    per_day = round(86_400 / step_s)
    for day, level in enumerate(levels):
        live(state, first_ms + day * 86_400_000, np.full(per_day, level), step_s=step_s)


def level(state, local_ms):
    """The level that a server sees at a local time, whose slot must have begun."""
    local = np.array([local_ms])
    season.turn(state, ROW, season.slot_of(local), step_s=300.0)
    return season.level_at(state, ROW, local)[0].tolist()


def place(local_ms):
    return tuple(int(part[0]) for part in season.place_of(season.slot_of(np.array([local_ms]))))


def test_a_slot_is_a_quarter_hour_of_a_weekday_or_of_a_weekend():
    hour = 3_600_000
    assert place(MONDAY) == (0, 0)
    assert place(MONDAY + 14 * hour + 16 * 60_000) == (0, 57)
    assert place(MONDAY + 5 * 24 * hour - 1) == (0, 95), "the last of Friday"
    assert place(SATURDAY) == (1, 0)
    assert place(SATURDAY + 48 * hour - 1) == (1, 95), "the last of Sunday"
    assert place(0) == (0, 0), "1970 began with a Thursday"


def test_what_a_slot_gathered_is_in_the_table_when_the_next_one_begins():
    state = blank()
    live(state, MONDAY, [1.0, 2.0, 3.0])
    assert np.isnan(state.season_level[0, 0, 0, 0])
    assert (state.slot_count[0, 0], state.slot_mean[0, 0]) == (3.0, pytest.approx(2.0))
    live(state, MONDAY + SLOT_MS, [0.0])
    assert state.season_level[0, 0, 0, 0] == pytest.approx(2.0)
    assert state.season_days[0, 0, 0] == 1.0
    assert state.slot_count[0, 0] == 1.0


def test_a_half_seen_slot_counts_as_half_a_day():
    """Else one observation after a gap would weigh as much as a quarter hour of them."""
    state = blank()
    live(state, MONDAY, [1.0] * 3)
    live(state, MONDAY + 86_400_000, [0.0])
    live(state, MONDAY + 86_400_000 + SLOT_MS, [0.0])
    assert state.season_days[0, 0, 0] == pytest.approx(1.0 + 1 / 3, rel=1e-3)


def test_days_enter_as_a_mean_until_the_fifth_and_with_a_fifth_from_then_on():
    state = blank()
    learned = []
    for day in range(5):  # Monday to Friday
        days(state, MONDAY + day * 86_400_000, [float(day == 0)])
        learned.append(float(state.season_level[0, 0, 40, 0]))
    assert learned[:4] == pytest.approx([1.0, 1 / 2, 1 / 3, 1 / 4], rel=2e-3)
    days(state, MONDAY + 7 * 86_400_000, [0.0])
    assert state.season_level[0, 0, 40, 0] == pytest.approx(learned[4] * 0.8, rel=2e-3)


def test_a_weekend_does_not_change_a_weekday():
    state = blank()
    days(state, MONDAY, [2.0] * 5)
    before = state.season_level[0, 0].copy()
    days(state, SATURDAY, [1.8, 1.6])
    level(state, SATURDAY + 2 * 86_400_000)
    np.testing.assert_array_equal(state.season_level[0, 0, :-1], before[:-1])
    assert state.season_level[0, 1, 40, 0] == pytest.approx(1.7, abs=0.02)
    assert level(state, MONDAY + 7 * 86_400_000 + 10 * 3_600_000)[0] > 1.9
    assert level(state, SATURDAY + 7 * 86_400_000 + 10 * 3_600_000)[0] < 1.8


def test_how_far_values_stray_is_learned_where_their_level_was_known_before():
    """On its first day a slot is held against the trailing mean: that distance is the daily cycle."""
    state = blank()
    noise = np.random.default_rng(1).normal(0.0, 0.1, (3, 288))
    values = 2.0 * np.sin(2 * np.pi * np.arange(288) / 288) + noise
    live(state, MONDAY, values[0])
    level(state, MONDAY + 86_400_000)
    assert np.isfinite(state.season_level[0, 0, :, 0]).all()
    assert np.isnan(state.season_var[0, 0]).all()
    assert state.season_square[0, 0] == 1.0, "as training left it"
    for day in (1, 2):
        live(state, MONDAY + day * 86_400_000, values[day])
    assert np.isfinite(state.season_var[0, 0, :-1]).all()
    assert np.sqrt(state.season_square[0, 0]) < 0.4, "of a cycle of 1.4"


@pytest.mark.parametrize(("seen", "other"), [(0, 0), (1, 0), (0, 1), (2, 3), (30, 8)])
def test_a_level_is_shrunk_to_the_days_there_are_by_hand(seen, other):
    """Days of the kind at 2, of the other kind at -1, the trailing three days at .5."""
    state = blank(trend=0.5)
    state.season_days[0, 0], state.season_days[0, 1] = seen, other
    state.season_level[0, 0], state.season_level[0, 1] = (2.0 if seen else np.nan), (-1.0 if other else np.nan)
    both = (seen * 2.0 + other * -1.0 + TREND_DAYS * 0.5) / (seen + other + TREND_DAYS)
    by_hand = (seen * 2.0 + both) / (seen + 1)
    assert level(state, MONDAY + 10 * 3_600_000) == pytest.approx([by_hand], rel=1e-3)


@pytest.mark.parametrize(("seen", "other"), [(0, 0), (1, 0), (4, 2)])
def test_a_spread_is_shrunk_likewise_and_never_below_the_floor(seen, other):
    state = blank()
    state.season_days[0, 0], state.season_days[0, 1] = seen, other
    state.season_level[0], state.season_var[0] = 0.0, 0.0
    state.season_square[:] = 4.0
    level(state, MONDAY + 10 * 3_600_000)
    both = 4.0 * PRIOR_DAYS / (seen + other + PRIOR_DAYS)
    by_hand = both * PRIOR_DAYS / (seen + PRIOR_DAYS) + FLOOR_SD**2
    assert state.slot_sd[0, 0] == pytest.approx(np.sqrt(by_hand), rel=1e-3)
    state.season_square[:] = 0.0
    level(state, MONDAY + 11 * 3_600_000)
    assert state.slot_sd[0, 0] == pytest.approx(FLOOR_SD)


def test_between_the_centres_of_two_slots_the_level_is_on_the_line_between_them():
    state = blank()
    state.season_days[:] = 1000.0  # nothing is shrunk
    state.season_level[0, :, :, 0] = np.arange(SLOTS) % 4
    ten = MONDAY + 10 * 3_600_000  # slot 40, level 0; before it 3, after it 1
    centre = ten + SLOT_MS // 2
    assert level(state, centre) == pytest.approx([0.0], abs=1e-2)
    assert level(state, centre + SLOT_MS // 4) == pytest.approx([0.25], abs=1e-2)
    assert level(state, ten) == pytest.approx([1.5], abs=1e-2)
    last = level(state, ten + SLOT_MS - 1)
    assert last == pytest.approx(level(state, ten + SLOT_MS), abs=1e-2), "no step where a slot ends"


def test_midnight_lies_between_the_last_slot_and_the_first():
    state = blank()
    state.season_days[:] = 1000.0
    state.season_level[0, :, :, 0] = 0.0
    state.season_level[0, :, SLOTS - 1, 0] = 4.0
    assert level(state, MONDAY + 86_400_000) == pytest.approx([2.0], abs=1e-2)


def test_where_a_step_is_longer_than_a_slot_its_neighbours_need_no_values():
    """An hourly series fills every fourth slot; the level there must not lean towards slots that stay empty."""
    state = blank()
    for day in range(5):
        live(state, MONDAY + day * 86_400_000, np.full(24, 2.0), step_s=3600.0)
    local = MONDAY + 7 * 86_400_000 + 10 * 3_600_000
    season.turn(state, ROW, season.slot_of(np.array([local])), step_s=3600.0)
    assert state.season_days[0, 0, 40] == pytest.approx(5.0, rel=1e-2)
    assert state.season_days[0, 0, 41] == 0.0
    before, now, after = state.slot_level[0, :, 0].tolist()
    assert before == now == after > 1.5


def test_a_missing_metric_leaves_its_slot_as_it_is_and_the_others_learn():
    state = blank(metrics=2)
    days(state, MONDAY, [1.0])
    values = np.array([[3.0, np.nan]] * 3, dtype=np.float32)
    start = MONDAY + 86_400_000
    live(state, start, values)
    live(state, start + SLOT_MS, values[:1])
    assert state.season_level[0, 0, 0].tolist() == [pytest.approx(2.0, rel=0.2), pytest.approx(1.0, rel=2e-3)]


def test_nothing_but_missing_values_leave_the_table_as_it_is():
    state = blank(metrics=2)
    days(state, MONDAY, [1.0])
    level(state, MONDAY + 86_400_000)
    before = {name: getattr(state, name).copy() for name in ("season_level", "season_var", "season_days")}
    live(state, MONDAY + 86_400_000, np.full((9, 2), np.nan))
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(state, name), array)


def test_a_slot_that_nobody_saw_stays_empty():
    """A gap of hours folds what was gathered before it, once."""
    state = blank()
    live(state, MONDAY, [1.0] * 3)
    live(state, MONDAY + 6 * 3_600_000, [1.0])
    assert state.season_days[0].sum() == 1.0


def test_an_outage_does_not_teach_the_table_that_outages_are_normal():
    calm, broken = blank(), blank()
    for state, monday in ((calm, 0.0), (broken, 30.0)):
        days(state, MONDAY, [0.0] * 5)
        days(state, MONDAY + 7 * 86_400_000, [monday])
    monday = MONDAY + 14 * 86_400_000 + 10 * 3_600_000
    assert abs(level(broken, monday)[0] - level(calm, monday)[0]) < 0.3, "of 30"


def test_the_hour_that_is_left_out_and_the_one_that_comes_twice_find_their_own_slots():
    """Local time jumps with the server's offset; the table goes by the clock on the wall."""
    zone = ZoneInfo("Europe/Berlin")
    for change in (datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)):
        state = blank()
        for minute in range(0, 120, 5):
            at = change + timedelta(minutes=minute)
            offset = at.astimezone(zone).utcoffset()
            local = np.array([int((at + offset).timestamp() * 1000)])
            season.turn(state, ROW, season.slot_of(local), step_s=300.0)
            gather(state, np.ones((1, 1), np.float32), local)
            wall = at.astimezone(zone)
            assert state.slot[0] % SLOTS == wall.hour * 4 + wall.minute // 15
        assert np.isfinite(state.slot_level).all()


@FEW
@given(st.lists(st.floats(-30, 30, width=32) | st.just(np.nan), min_size=1, max_size=60), st.integers(60, 5000))
def test_no_series_at_any_step_makes_a_level_or_a_spread_that_is_not_finite(values, step_s):
    state = blank()
    live(state, MONDAY, values, step_s=float(step_s))
    assert np.isfinite(state.slot_level).all()
    assert (state.slot_sd >= FLOOR_SD).all()
    days_seen = state.season_days[0]
    assert np.isfinite(state.season_level[0, :, :, 0][days_seen > 0]).all()
    assert (days_seen <= len(values)).all()
