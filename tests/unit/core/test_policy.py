"""Persistence and the incident's life, against a reference that says the same thing one server at a time."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.examples import FEW
from treeline.core.alert import AlertEvent, Priority
from treeline.core.detection.policy import (
    FLEET_ROW,
    NONE,
    OPEN_P1,
    OPEN_P2,
    PolicySettings,
    apply_fleet_cycle,
    decide,
    shared_level,
)
from treeline.core.errors import SettingsError
from treeline.core.state.fleet import FleetState

STEP = 60_000
ALONE = 6.0
OPENED, ESCALATED, DEESCALATED, RESOLVED = (
    AlertEvent.OPENED,
    AlertEvent.ESCALATED,
    AlertEvent.DEESCALATED,
    AlertEvent.RESOLVED,
)
CALM, P2, P1 = 0.0, 2.0, 4.0


def run(severities, settings, *, times=None):
    """(event, position) of one server's changes."""
    state = FleetState(1, servers=["a"])
    times = [i * STEP for i in range(len(severities))] if times is None else times
    changes = []
    for i, (severity, at) in enumerate(zip(severities, times, strict=True)):
        for change in decide(state, np.array([0]), np.array([at]), np.array([severity]), settings):
            assert change.at == at
            changes.append((change.event, i))
    return changes


class Reference:
    """The policy in plain words: one server, whole history kept."""

    def __init__(self, settings):
        self.s = settings
        self.seen = []  # (at, severity)
        self.tier = NONE
        self.resolved_at = None

    def _enough(self, test):
        return sum(test(severity) for _, severity in self.seen[-self.s.of_last :]) >= self.s.needed

    def _quiet_since(self, test, at):
        return all(at - then >= self.s.quiet_s * 1000 for then, severity in self.seen if test(severity))

    def step(self, at, severity):
        self.seen.append((at, severity))
        p2, p1 = (lambda x: x >= 1.5), (lambda x: x > 3.0)
        if self.tier == NONE:
            cooling = self.resolved_at is not None and at - self.resolved_at < self.s.cooldown_s * 1000
            if p2(severity) and self._enough(p2) and not cooling:
                self.tier = OPEN_P1 if p1(severity) and self._enough(p1) else OPEN_P2
                return OPENED
            return None
        if self.tier == OPEN_P2 and p1(severity) and self._enough(p1):
            self.tier = OPEN_P1
            return ESCALATED
        calm_run = len(list(itertools.takewhile(lambda x: not p2(x[1]), reversed(self.seen))))
        if self._quiet_since(p2, at) and calm_run >= self.s.of_last:
            self.tier, self.resolved_at = NONE, at
            return RESOLVED
        if self.tier == OPEN_P1 and not p1(severity) and self._quiet_since(p1, at):
            self.tier = OPEN_P2
            return DEESCALATED
        return None


def expected(severities, settings, times=None):
    reference = Reference(settings)
    times = [i * STEP for i in range(len(severities))] if times is None else times
    steps = [(reference.step(at, severity), i) for i, (at, severity) in enumerate(zip(times, severities, strict=True))]
    return [(event, i) for event, i in steps if event is not None]


@pytest.mark.parametrize(("needed", "of_last"), [(1, 1), (1, 3), (2, 2), (2, 3), (3, 3), (3, 5)])
def test_every_short_sequence_agrees_with_the_reference(needed, of_last):
    """All 3^6 sequences at once, one server each: the vectorised machine against the plain one."""
    settings = PolicySettings(needed=needed, of_last=of_last, quiet_s=120.0)
    sequences = np.array(list(itertools.product([CALM, P2, P1], repeat=6)))
    state = FleetState(1, servers=[str(i) for i in range(len(sequences))])
    rows = np.arange(len(sequences))
    got = {i: [] for i in range(len(sequences))}
    for t in range(sequences.shape[1]):
        for change in decide(state, rows, np.full(len(rows), t * STEP), sequences[:, t], settings):
            got[change.row].append((change.event, t))
    for i, sequence in enumerate(sequences):
        assert got[i] == expected(sequence, settings), sequence


@FEW
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 1.4, 1.5, 3.0, 3.1, 9.0]), st.integers(1, 8)), max_size=60),
    st.sampled_from([(1, 1), (2, 3), (4, 7), (32, 32)]),
    st.sampled_from([0.0, 60.0, 300.0]),
    st.sampled_from([0.0, 180.0, 900.0]),
)
def test_long_sequences_with_gaps_and_cooldowns_agree_with_the_reference(steps, m_of_n, quiet_s, cooldown_s):
    settings = PolicySettings(needed=m_of_n[0], of_last=m_of_n[1], quiet_s=quiet_s, cooldown_s=cooldown_s)
    severities = [severity for severity, _ in steps]
    times = np.cumsum([gap * STEP for _, gap in steps], dtype=np.int64).tolist()
    assert run(severities, settings, times=times) == expected(severities, settings, times)


@FEW
@given(st.lists(st.lists(st.sampled_from([CALM, P2, P1]), min_size=12, max_size=12), min_size=1, max_size=5))
def test_servers_do_not_disturb_each_other(fleet):
    settings = PolicySettings(quiet_s=120.0)
    state = FleetState(1, servers=[str(i) for i in range(len(fleet))])
    got = {i: [] for i in range(len(fleet))}
    for t in range(12):
        order = np.arange(len(fleet))[:: -1 if t % 2 else 1]
        severities = np.array([fleet[i][t] for i in order])
        for change in decide(state, order, np.full(len(fleet), t * STEP), severities, settings):
            got[change.row].append((change.event, t))
    assert got == {i: run(sequence, settings) for i, sequence in enumerate(fleet)}


def test_two_of_three_by_hand():
    settings = PolicySettings()
    assert run([P2, CALM, P2], settings) == [(OPENED, 2)]
    assert run([P2, CALM, CALM, P2, P2], settings) == [(OPENED, 4)]
    assert run([P2, CALM, CALM] * 4, settings) == []


def test_a_calm_observation_never_opens_an_incident_even_when_the_last_ones_suffice():
    settings = PolicySettings(cooldown_s=180.0, quiet_s=0.0, needed=1, of_last=2)
    got = run([P2, CALM, CALM, P2, CALM, CALM], settings)
    assert got == [(OPENED, 0), (RESOLVED, 2)], "the exceedance at 3 was inside the cool-down"


@pytest.mark.parametrize(("steps", "opened"), [(2, []), (3, [(OPENED, 4)])])
def test_a_cool_down_is_over_when_its_time_has_passed(steps, opened):
    settings = PolicySettings(cooldown_s=180.0, quiet_s=0.0, needed=1, of_last=1)
    assert run([P2, CALM] + [CALM] * (steps - 1) + [P2], settings) == [(OPENED, 0), (RESOLVED, 1), *opened]


def change_list(severities, settings, step=STEP):
    state = FleetState(1, servers=["a"])
    changes = []
    for i, severity in enumerate(severities):
        changes += decide(state, np.array([0]), np.array([i * step]), np.array([severity]), settings)
    return changes


def test_a_whole_life_counts_its_steps_and_keeps_its_opening_time():
    settings = PolicySettings(quiet_s=180.0)
    life = [CALM, P2, P2, P1, P1, P2, P2, P2, CALM, CALM, CALM, CALM]
    changes = change_list(life, settings)
    assert [(c.event, c.priority, c.at // STEP, c.sequence) for c in changes] == [
        (OPENED, Priority.P2, 2, 1),
        (ESCALATED, Priority.P1, 4, 2),
        (DEESCALATED, Priority.P2, 7, 3),
        (RESOLVED, Priority.P2, 10, 4),
    ]
    assert {c.opened_at for c in changes} == {2 * STEP}
    assert {c.first_anomalous_at for c in changes} == {STEP}


def test_a_resolution_is_told_at_the_priority_people_were_woken_with():
    changes = change_list([P1, P1, CALM, CALM, CALM, CALM], PolicySettings(quiet_s=180.0))
    assert [(c.event, c.priority) for c in changes] == [(OPENED, Priority.P1), (RESOLVED, Priority.P1)]


def test_the_second_incident_starts_counting_again():
    changes = change_list([P2, P2, CALM, CALM, CALM, P2, P2], PolicySettings(quiet_s=120.0))
    assert [(c.event, c.sequence, c.opened_at // STEP) for c in changes] == [
        (OPENED, 1, 1),
        (RESOLVED, 2, 1),
        (OPENED, 1, 6),
    ]


def test_the_first_anomalous_time_is_one_that_led_to_the_decision():
    """An exceedance that has left the last three observations has nothing to do with the incident."""
    changes = change_list([P2, CALM, CALM, P2, P2], PolicySettings())
    assert changes[0].first_anomalous_at == 3 * STEP
    changes = change_list([P2, CALM, P2], PolicySettings())
    assert changes[0].first_anomalous_at == 0


def test_without_a_quiet_time_a_p1_does_not_flap_while_it_lasts():
    changes = change_list([P1] * 6, PolicySettings(quiet_s=0.0))
    assert [c.event for c in changes] == [OPENED]


@pytest.mark.parametrize(
    "bad",
    [{"needed": 0}, {"needed": 4, "of_last": 3}, {"needed": 2, "of_last": 33}, {"quiet_s": -1.0}, {"cooldown_s": -1.0}],
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(SettingsError):
        PolicySettings(**bad)


def fleet_state(severities, bucket):
    state = FleetState(1, servers=[f"s{i}" for i in range(len(severities))])
    state.severity[:] = severities
    state.severity_bucket[:] = bucket
    return state


def test_the_level_is_the_median_of_the_bucket_before():
    level, changes = apply_fleet_cycle(
        fleet_state([1.375] * 6 + [0.25] * 5, 9), 10, 600_000, PolicySettings(fleet_min_servers=10)
    )
    assert (level, changes) == (pytest.approx(0.875), [])


@pytest.mark.parametrize(
    ("median", "shared"), [(0.0, 0.0), (1.2, 0.0), (1.35, 0.75), (1.5, 1.5), (1.4999999, 1.4999995), (9.0, 9.0)]
)
def test_what_is_normal_everywhere_is_not_taken_off_and_what_is_severe_everywhere_is(median, shared):
    assert shared_level(median) == pytest.approx(shared, abs=1e-6)


@pytest.mark.parametrize(("servers", "level"), [(9, 0.0), (10, 2.0)])
def test_fewer_servers_than_the_setting_share_nothing(servers, level):
    assert (
        apply_fleet_cycle(fleet_state([2.0] * servers, 9), 10, 600_000, PolicySettings(fleet_min_servers=10))[0]
        == level
    )


def test_a_fleet_minimum_of_zero_switches_the_cycle_off():
    off = PolicySettings(fleet_min_servers=0)
    assert apply_fleet_cycle(fleet_state([9.0] * 50, 9), 10, 600_000, off) == (0.0, [])


def test_a_group_of_one_may_share_its_level_where_the_setting_says_so():
    assert apply_fleet_cycle(fleet_state([2.0], 9), 10, 600_000, PolicySettings(fleet_min_servers=1))[0] == 2.0


@pytest.mark.parametrize(("bucket", "counts"), [(7, False), (8, True), (9, True), (10, False), (11, False)])
def test_only_the_two_buckets_before_count(bucket, counts):
    level, _ = apply_fleet_cycle(fleet_state([2.0] * 12, bucket), 10, 600_000, PolicySettings(fleet_min_servers=10))
    assert level == (2.0 if counts else 0.0)


def cycle(levels, settings=None, start=1):
    state = fleet_state([0.0] * 12, 0)
    changes = []
    for i, level in enumerate(levels, start=start):
        state.severity[:] = level
        state.severity_bucket[:] = i - 1
        changes += apply_fleet_cycle(
            state, i, i * STEP, settings or PolicySettings(quiet_s=180.0, fleet_min_servers=10)
        )[1]
    return state, changes


def test_a_load_everywhere_is_one_p2_that_opens_once_and_resolves_after_its_quiet_time():
    _, changes = cycle([0, 4, 4, 4, 4, 0, 0, 0, 0, 0])
    assert [(c.event, c.at // STEP, c.sequence, c.priority) for c in changes] == [
        (OPENED, 3, 1, Priority.P2),
        (RESOLVED, 8, 2, Priority.P2),
    ]
    assert {(c.row, c.first_anomalous_at, c.opened_at) for c in changes} == {(FLEET_ROW, 2 * STEP, 3 * STEP)}


def test_a_median_of_exactly_p2_twice_of_three_buckets_is_a_fleet_incident():
    _, changes = cycle([1.5, 0, 1.5])
    assert [(c.event, c.at // STEP, c.first_anomalous_at // STEP) for c in changes] == [(OPENED, 3, 1)]
    assert cycle([1.4999, 0, 1.4999])[1] == cycle([1.5, 0, 0, 1.5])[1] == []


def test_a_fleet_that_falls_silent_resolves_its_incident_at_severity_0():
    state, _ = cycle([4, 4])
    settings, changes = PolicySettings(quiet_s=180.0, fleet_min_servers=10), []
    for bucket in range(3, 12):
        changes += apply_fleet_cycle(state, bucket, bucket * STEP, settings)[1]
    assert [(c.event, c.severity) for c in changes] == [(RESOLVED, 0.0)]


def test_a_second_round_of_a_bucket_changes_nothing():
    state, _ = cycle([0, 4])
    before = state.pack()
    state.severity[:6] = 0.0
    level, changes = apply_fleet_cycle(state, 2, 2 * STEP, PolicySettings(quiet_s=180.0, fleet_min_servers=10))
    assert (level, changes) == (4.0, [])
    state.severity[:6] = 4.0
    assert state.pack() == before


def test_a_server_catching_up_leaves_the_fleet_where_it_is():
    """A backlog from before must not shift the fleet's window, nor let the same bucket count again."""
    state, _ = cycle([0, 4, 4, 4])
    before = state.cycle.__class__(**{f: getattr(state.cycle, f) for f in state.cycle.__slots__})
    for bucket in (1, 2, 3):
        level, changes = apply_fleet_cycle(
            state, bucket, bucket * STEP, PolicySettings(quiet_s=180.0, fleet_min_servers=10)
        )
        assert (level, changes) == (4.0, [])
    assert state.cycle == before


def test_the_fleets_first_anomalous_time_is_one_that_led_to_the_decision():
    _, changes = cycle([4, 0, 0, 4, 4])
    assert changes[0].first_anomalous_at == 4 * STEP


def changes_of_one(state, at, severity, *, agreeing, evident=True, alone_severity=ALONE, **settings):
    """What one observation of the only server changes: (event, priority)."""
    found = decide(
        state,
        np.array([0]),
        np.array([at * STEP]),
        np.array([severity]),
        PolicySettings(alone_severity=alone_severity, **settings),
        evident=np.array([evident]),
        agreeing=np.array([agreeing]),
    )
    return [(change.event, change.priority) for change in found]


@pytest.mark.parametrize(
    ("severity", "agreeing", "evident", "opens"),
    [
        (ALONE, True, True, True),
        (ALONE, False, True, False),
        (ALONE, True, False, False),
        (float(np.nextafter(ALONE, 0.0)), True, True, False),
    ],
)
def test_one_observation_is_enough_where_several_metrics_agree_far_above_p1(severity, agreeing, evident, opens):
    state = FleetState(1, servers=["a"])
    found = changes_of_one(state, 1, severity, agreeing=agreeing, evident=evident)
    assert found == ([(OPENED, Priority.P1)] if opens else [])
    again = changes_of_one(state, 2, ALONE, agreeing=True)
    assert again == ([] if opens else [(OPENED, Priority.P1)]), "the incident is told once"


def test_one_observation_raises_an_open_p2_where_several_metrics_agree():
    state = FleetState(1, servers=["a"])
    assert not changes_of_one(state, 1, P2, agreeing=True)
    assert changes_of_one(state, 2, P2, agreeing=True) == [(OPENED, Priority.P2)]
    assert changes_of_one(state, 3, ALONE, agreeing=True) == [(ESCALATED, Priority.P1)]


@pytest.mark.parametrize("settings", [{"alone_severity": 0.0}, {"fleet_min_servers": 5}])
def test_one_observation_is_never_enough_where_that_is_off_or_a_group_s_level_is_to_be_taken_off(settings):
    state = FleetState(1, servers=["a"])
    assert changes_of_one(state, 1, 30.0, agreeing=True, **settings) == []


def test_a_severity_that_is_not_above_p1_cannot_open_p1_alone():
    with pytest.raises(SettingsError, match=r"alone_severity: must be 0 or > 3, got 2.5"):
        PolicySettings(alone_severity=2.5)
