"""`treeline fleet generate --with ...`: each addition does what it says, and nothing to the rest of the fleet."""

import csv
import hashlib
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from cli.main import run
from demo.fleet.addition_files import write_changes
from demo.fleet.agenda import ChangeKind
from demo.fleet.generate import generate
from demo.fleet.impact import impact_of
from demo.fleet.incidents import Incident, schedule
from demo.fleet.plan import AddedKind, Addition, FleetPlan, IncidentKind
from demo.fleet.roles import APP, WEB, role_of
from demo.fleet.scene import CPU, DISK_FILLED, MEMORY, NETWORK
from demo.fleet.series import make_fleet, server_series
from demo.fleet.services import is_serving, members, service_of, zone_of
from training.history.files import open_history
from training.history.objectives import open_objectives
from treeline.core.errors import UsageError

PLAN = FleetPlan(servers=40, days=14, step_s=300, incidents_per_server_week=1.0, missing_rows=0, missing_values=0)
PLAIN_VALUES = "50fc26b1fd822e82cc256252ec4200e3c8b5e46eaa4c6b77daa93b09889743f8"
PLAIN_INCIDENTS = "be5981ceba6f5cc0a09b6f78281fd5efcc28681455c8cc761e4de71d2187bc3e"
FELT_AT_ONCE = {
    "cpu_spike", "sudden_drop", "ddos", "disk_storm", "flapping", "deploy_errors", "network_loss", "zone_outage",
}  # fmt: skip
NEVER_FELT = {"exfiltration", "off_hours", "silent"}
DEPLOY_KINDS = {AddedKind.DEPLOY_ERRORS, AddedKind.DEPLOY_SLOW, AddedKind.DEPLOY_LEAK}


def fleet_with(*additions, plan=PLAN):
    return make_fleet(replace(plan, additions=frozenset(additions)))


def by_server(fleet):
    return {series.server_id: series for series in server_series(fleet)}


@pytest.fixture(scope="module")
def plain():
    return by_server(fleet_with())


@pytest.fixture(scope="module")
def everything():
    return fleet_with(*Addition)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A busy fleet at one minute, with everything, on disk."""
    path = tmp_path_factory.mktemp("everything")
    generate(replace(PLAN, step_s=60, days=8, servers=30, additions=frozenset(Addition)), path)
    return path


@pytest.fixture(scope="module")
def labels(folder):
    return open_history(folder / "fleet.parquet", folder / "incidents.csv").incidents


def on_grid(fleet, series):
    """The four usual metrics at every step (steps, 4): -1 where a row is missing."""
    grid = np.full((fleet.plan.rows_per_server, 4), -1.0)
    grid[np.searchsorted(fleet.calendar.seconds * 1000, series.times_ms)] = series.values[:, :4]
    return grid


def differs(fleet, series, other):
    """Steps at which two series of the same plan differ (steps,), a missing row being a difference."""
    one, another = on_grid(fleet, series), on_grid(fleet, other)
    return ~((one == another) | (np.isnan(one) & np.isnan(another))).all(axis=1)


def during(fleet, series, incident):
    """Which rows of a series lie inside an incident (n,)."""
    first, last = (fleet.calendar.seconds[step] * 1000 for step in (incident.first, incident.last))
    return (series.times_ms >= first) & (series.times_ms <= last)


def test_a_plain_fleet_is_what_it_was_before_there_were_additions(tmp_path):
    """Every published figure on generated fleets rests on these bits (hashes made by commit 291f9e5)."""
    plan = FleetPlan(servers=11, days=8, step_s=600, seed=11, incidents_per_server_week=4)
    digest = hashlib.sha256()
    for series in server_series(make_fleet(plan)):
        for part in (series.times_ms, series.values, series.is_test, series.label):
            digest.update(part.tobytes())
    assert digest.hexdigest() == PLAIN_VALUES
    made = generate(plan, tmp_path)
    assert hashlib.sha256(made.incidents_path.read_bytes()).hexdigest() == PLAIN_INCIDENTS
    assert made.other_paths == ()


@pytest.mark.parametrize("addition", Addition)
def test_an_addition_brings_the_same_whatever_else_is_on_and_leaves_the_plain_incidents_alone(addition, everything):
    alone = fleet_with(addition)
    usual = set(schedule(PLAN, alone.calendar))
    assert usual <= set(alone.incidents) <= set(everything.incidents)
    assert set(alone.agenda.changes) <= set(everything.agenda.changes)
    assert all(everything.agenda.replacements[server] == r for server, r in alone.agenda.replacements.items())
    assert alone.agenda == fleet_with(addition).agenda


def test_all_additions_together_are_the_sum_of_each_alone(everything):
    alone = [fleet_with(addition).agenda for addition in Addition]
    assert Counter(everything.agenda.incidents) == Counter(i for agenda in alone for i in agenda.incidents)
    assert sum(len(agenda.replacements) for agenda in alone) == len(everything.agenda.replacements) > 1
    assert {i.kind for i in everything.incidents} >= set(IncidentKind) | (set(AddedKind) - DEPLOY_KINDS)
    assert {i.kind for i in everything.incidents} & DEPLOY_KINDS


def test_another_seed_gives_other_additions(everything):
    other = fleet_with(*Addition, plan=replace(PLAN, seed=8))
    assert set(everything.agenda.incidents).isdisjoint(other.agenda.incidents)


def test_incidents_of_one_server_stay_apart_in_any_mixture(everything):
    for before, after in pairwise(everything.incidents):
        if before.server == after.server:
            assert (after.first - before.last) * PLAN.step_s > 4 * 3600
    assert all(i.first >= PLAN.train_rows for i in everything.incidents)


@pytest.mark.parametrize("addition", [Addition.DISK_LEAKS, Addition.SHARED_EVENTS, Addition.SILENT_AGENTS])
def test_values_change_only_inside_the_addition_s_own_incidents(addition, plain):
    fleet = fleet_with(addition)
    touched = defaultdict(lambda: np.zeros(PLAN.rows_per_server, dtype=bool))
    for incident in fleet.agenda.incidents:
        touched[fleet.names[incident.server]][incident.first : incident.last + 1] = True
    for server_id, series in by_server(fleet).items():
        changed = differs(fleet, series, plain[server_id])
        assert not np.any(changed & ~touched[server_id])
        assert changed.any() == touched[server_id].any()


def test_objectives_change_no_observation(plain):
    fleet = fleet_with(Addition.OBJECTIVES)
    series = by_server(fleet)
    assert series.keys() == plain.keys()
    assert not any(differs(fleet, series[name], plain[name]).any() for name in plain)


def test_a_silent_agent_sends_no_row_or_nothing_of_one_metric_and_no_value_is_labelled():
    fleet = fleet_with(Addition.SILENT_AGENTS, plan=replace(PLAN, incidents_per_server_week=0.0, servers=90))
    series, lost = by_server(fleet), []
    for incident in fleet.incidents:
        assert incident.kind is AddedKind.SILENT
        own = series[fleet.names[incident.server]]
        inside = during(fleet, own, incident)
        lost.append("agent" if not inside.any() else "metric")
        if inside.any():
            assert np.isnan(own.values[inside]).all(axis=0).sum() == 1
        assert not own.label.any()
    assert len(lost) == 7  # .08 a server-week
    assert set(lost) == {"agent", "metric"}
    assert all(60 <= (i.last - i.first + 1) * PLAN.step_s / 60 <= 485 for i in fleet.incidents)


def test_a_disk_leak_fills_the_disk_by_its_end_and_no_other_disk_fills():
    fleet = fleet_with(Addition.DISK_LEAKS)
    leaking = {i.server: i for i in fleet.agenda.incidents}
    assert leaking
    for series in server_series(fleet):
        used = series.values[:, DISK_FILLED]
        incident = leaking.get(fleet.names.index(series.server_id))
        if incident is None:
            assert used.max() < 86
            continue
        inside = during(fleet, series, incident)
        growth = used[inside]
        assert (growth[-1], growth[0] < 66) == (100.0, True)
        assert np.all(np.diff(growth) >= -0.2)
        assert (growth < 99.9).mean() > 0.7  # most of the time it only grows
        assert np.all(used[~inside] < 86)
        assert series.label[inside].all()


def test_a_shared_event_hits_several_servers_of_a_zone_or_service_at_once(everything):
    events = defaultdict(list)
    for incident in everything.incidents:
        if incident.event.startswith("shared-"):
            events[incident.event].append(incident)
    assert {hit[0].kind for hit in events.values()} == {
        AddedKind.ZONE_OUTAGE, AddedKind.NETWORK_LOSS, AddedKind.SLOW_DEPENDENCY,
    }  # fmt: skip
    for hit in events.values():
        assert len({i.server for i in hit}) == len(hit) >= 3
        assert max(i.first for i in hit) - min(i.first for i in hit) <= PLAN.minutes(3)
        assert all(is_serving(i.server) for i in hit)
        place = zone_of if hit[0].kind is AddedKind.ZONE_OUTAGE else service_of
        assert len({place(i.server) for i in hit}) == 1


def test_deploys_roll_over_every_server_of_a_service_and_a_bad_one_hurts_from_its_restart_to_its_rollback(everything):
    rolled = defaultdict(dict)
    for change in everything.agenda.changes:
        if change.kind is not ChangeKind.REPLACEMENT:
            rolled[change.name, change.kind][change.server] = change.at
    deploys = {name: steps for (name, kind), steps in rolled.items() if kind is ChangeKind.DEPLOY}
    for steps in rolled.values():
        assert set(steps) == set(members(PLAN, service_of(min(steps))))
        assert len(set(steps.values())) == len(steps)  # one after the other
    bad = [i for i in everything.incidents if i.kind in DEPLOY_KINDS]
    for incident in bad:
        assert deploys[incident.event][incident.server] == incident.first
        assert rolled[incident.event, ChangeKind.ROLLBACK][incident.server] == incident.last + 1
    harmful = {i.event for i in bad}
    tested = {name for name, steps in deploys.items() if min(steps.values()) >= PLAN.train_rows}
    assert 0 < len(harmful) < 0.5 * len(tested)
    assert len(deploys) > len(tested)  # and the model can learn from harmless ones


def test_a_harmless_deploy_is_no_label_and_moves_little_and_soon_less():
    """A dip of minutes and a small shift of level; what is labelled moves far more, for longer."""
    plan = replace(PLAN, incidents_per_server_week=0.0, step_s=60, servers=20)
    quiet, fleet = by_server(fleet_with(plan=plan)), fleet_with(Addition.DEPLOYS, plan=plan)
    deployed = by_server(fleet)
    begin = int(plan.start.timestamp())
    moved = {False: [], True: []}
    harmful = {i.event: i.kind for i in fleet.incidents}
    hurt = {(i.event, i.server) for i in fleet.incidents}
    for change in fleet.agenda.changes:
        is_hurt = (change.name, change.server) in hurt
        if change.kind is not ChangeKind.DEPLOY or (change.name in harmful and not is_hurt):
            continue
        series, calm = deployed[fleet.names[change.server]], quiet[fleet.names[change.server]]
        at = (begin + change.at * plan.step_s) * 1000
        after = (series.times_ms >= at + 5 * 60_000) & (series.times_ms < at + 35 * 60_000)
        spread = np.nanstd(calm.values, axis=0)
        away = np.abs(series.values[after] - calm.values[after])[:, [CPU, NETWORK]] / spread[[CPU, NETWORK]]
        moved[is_hurt].append(np.nanmean(away.max(axis=1)))
        if not is_hurt:
            assert not series.label[after].any()
    assert len(moved[False]) > 50
    assert moved[True]
    assert np.quantile(moved[False], 0.95) < 0.5
    assert min(moved[True]) > 1.0  # of this seed's; a version that loses memory shows hours later


def test_month_ends_multiply_the_load_on_three_days_and_are_no_incident(plain):
    fleet = fleet_with(Addition.MONTH_ENDS)
    day = np.array([datetime.fromtimestamp(s, UTC).date().isoformat() for s in fleet.calendar.seconds.tolist()])
    settled = fleet.calendar.hour >= 3
    assert set(day[fleet.factor > 1.0]) == {"2026-10-29", "2026-10-30", "2026-10-31", "2026-11-01"}  # till 3 h
    month_end = np.isin(day, ["2026-10-29", "2026-10-30", "2026-10-31"]) & settled
    assert fleet.factor[month_end].min() >= 1.5
    assert fleet.factor[day == "2026-10-31"].max() <= 2.0
    assert np.all(fleet.factor[~month_end & settled] == 1.0)
    assert fleet.agenda.incidents == ()
    busy = by_server(fleet)
    on = fleet.calendar.seconds[month_end] * 1000
    for name in ("app-001", "web-007", "db-001"):
        inside = np.isin(busy[name].times_ms, on) & (busy[name].label == 0)
        ratio = busy[name].values[inside, NETWORK].mean() / plain[name].values[inside, NETWORK].mean()
        assert 1.4 < ratio < 2.0


def test_services_with_two_modes_work_at_85_to_95_percent_for_hours_and_are_no_incident(plain):
    fleet = fleet_with(Addition.BIMODAL)
    series = by_server(fleet)
    for name, hours_a_week in (("app-001", (20, 45)), ("web-007", (40, 60))):  # a daily batch; working days
        cpu = series[name].values[:, CPU]
        assert hours_a_week[0] < (cpu > 80).sum() * PLAN.step_s / 3600 / 2 < hours_a_week[1]
        high = cpu[cpu > 80]
        assert np.mean((high > 85) & (high < 95)) > 0.75
        assert np.mean((cpu > 45) & (cpu < 70)) < 0.15  # two modes, and little between them
        assert series[name].label.sum() == plain[name].label.sum()
    for name in ("web-004", "app-004", "db-002"):  # of a service with one mode
        assert not differs(fleet, series[name], plain[name]).any()


def test_a_replaced_server_begins_anew_under_a_new_id_or_its_own_and_is_no_incident(plain):
    fleet = fleet_with(Addition.REPLACED_SERVERS)
    series = by_server(fleet)
    assert fleet.agenda.incidents == ()
    assert {r.keeps_id for r in fleet.agenda.replacements.values()} == {True, False}
    new_ids = series.keys() - plain.keys()
    for server, replaced in fleet.agenda.replacements.items():
        name = fleet.names[server]
        at, until = (fleet.calendar.seconds[replaced.at + n] * 1000 for n in (0, replaced.gap))
        changed = differs(fleet, series[name], plain[name])
        assert not changed[: replaced.at].any()
        assert changed[replaced.at :].mean() > 0.95  # all, but for rows that are lost in both
        new = series[name] if replaced.keeps_id else series[f"{name}-2"]
        assert not np.any((new.times_ms >= at) & (new.times_ms < until))
        if replaced.keeps_id:
            assert np.any(new.times_ms >= until)
            level, before = (np.nanmedian(new.values[part, MEMORY]) for part in (new.times_ms >= until, ~new.is_test))
            assert abs(level - before) > 0.5
        else:
            assert series[name].times_ms[-1] < at
            assert new.times_ms[0] == until
            assert new.is_test.all()
            new_ids.remove(f"{name}-2")
    assert not new_ids
    labelled = {(s.server_id, i) for s in series.values() for i in s.incidents}
    assert labelled == {(s.server_id, i) for s in plain.values() for i in s.incidents}


def test_what_a_plain_fleet_lost_stays_lost():
    """An outage of an agent keeps away from the plain fleet's incidents alone, or an addition would bring rows back."""
    plan = FleetPlan(servers=300, step_s=3600, incidents_per_server_week=0.5)
    without, fleet = by_server(fleet_with(plan=plan)), fleet_with(Addition.DISK_LEAKS, plan=plan)
    leaking = {fleet.names[incident.server] for incident in fleet.agenda.incidents}
    for series in server_series(fleet):
        assert np.array_equal(series.times_ms, without[series.server_id].times_ms)
    lost = [plan.rows_per_server - len(without[name].times_ms) for name in leaking]
    assert sum(lost) > 10


def test_no_label_moves_to_another_id_and_a_server_under_its_old_id_still_has_its_incidents():
    plan = FleetPlan(servers=60, step_s=600, kinds=(IncidentKind.CPU_SPIKE,), incidents_per_server_week=1.5)
    fleet = fleet_with(*Addition, plan=plan)
    series, later = by_server(fleet), 0
    for server, replaced in fleet.agenda.replacements.items():
        after = [i for i in fleet.incidents if i.server == server and i.first >= replaced.at]
        assert replaced.keeps_id or not after
        for incident in after:
            if incident.kind is IncidentKind.CPU_SPIKE:
                own = series[fleet.names[server]]
                assert np.nanmax(own.values[during(fleet, own, incident), CPU]) > 94
                later += 1
    assert later > 0
    assert len(fleet.agenda.replacements) == 4


def test_objectives_are_breached_only_after_the_onset_of_an_incident_and_each_kind_in_its_time(folder, labels):
    objectives = open_objectives(folder)
    service_of_server = {server: service for service, servers in objectives.servers.items() for server in servers}
    breaches = objectives.breaches()
    for breach in breaches:
        own = [x for x in labels if service_of_server[x.server_id] == breach.service]
        assert any(x.start_ms <= breach.start_ms <= x.end_ms for x in own)
    minutes = defaultdict(list)
    for label in labels:
        if label.breached_ms is None:
            continue
        assert label.start_ms <= label.breached_ms <= label.end_ms
        assert any(
            b.service == service_of_server[label.server_id] and b.start_ms <= label.breached_ms <= b.end_ms
            for b in breaches
        )
        minutes[label.kind].append((label.breached_ms - label.start_ms) / 60_000)
    assert not NEVER_FELT & set(minutes)
    assert all(max(minutes[kind]) < 15 for kind in FELT_AT_ONCE & set(minutes))
    assert FELT_AT_ONCE - {"deploy_errors"} <= set(minutes)
    assert min(minutes["memory_leak"]) > 60
    assert min(minutes["disk_leak"], default=1e9) > 180


def test_users_feel_nothing_of_a_batch_server_and_a_leak_only_once_memory_is_scarce():
    batch, web = 6, 0
    metrics = np.tile([30.0, 40.0, 50.0, 100.0], (PLAN.rows_per_server, 1))
    metrics[2500:2600, MEMORY] = np.linspace(40.0, 98.0, 100)
    leaks = [Incident(server=i, kind=IncidentKind.MEMORY_LEAK, first=2500, last=2599) for i in (batch, web)]
    assert impact_of(PLAN, leaks[0], metrics) is None
    felt = impact_of(PLAN, leaks[1], metrics)
    assert felt.slower_ms[:75].max() == 0.0  # below 84 %
    assert felt.slower_ms[-1] > 400
    assert felt.failing.nonzero()[0].tolist() == [99]  # one step of five minutes: it is restarted
    assert felt.failing[99] == pytest.approx(0.8 / 3)  # one of the service's three web servers


def test_load_alone_breaches_nothing_not_even_at_a_month_s_end(tmp_path):
    additions = frozenset({Addition.OBJECTIVES, Addition.MONTH_ENDS, Addition.BIMODAL})
    plan = replace(PLAN, incidents_per_server_week=0.0, servers=100, additions=additions)
    generate(plan, tmp_path)
    objectives = open_objectives(tmp_path)
    assert len(objectives.objectives) == 10
    assert objectives.breaches() == []


def test_every_server_carries_a_service_and_every_change_and_label_names_a_server_of_the_fleet(folder):
    history = open_history(folder / "fleet.parquet", folder / "incidents.csv")
    carriers = open_objectives(folder).servers
    assert sorted(s for servers in carriers.values() for s in servers) == list(history.servers)
    with (folder / "changes.csv").open(newline="") as file:
        changes = list(csv.DictReader(file))
    assert {c["server_id"] for c in changes} <= set(history.servers)
    assert all(c["server_id"] in carriers[c["service"]] for c in changes)
    deploys = {c["name"] for c in changes if c["kind"] == "deploy"}
    assert {x.event for x in history.incidents if x.kind.startswith("deploy_")} <= deploys


def test_changes_name_the_server_that_stands_there_at_the_time(tmp_path, everything):
    write_changes(everything, tmp_path)
    with (tmp_path / "changes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    for change, row in zip(everything.agenda.changes, rows, strict=True):
        replaced = everything.agenda.replacements.get(change.server)
        is_new = replaced is not None and not replaced.keeps_id and change.at >= replaced.at
        assert row["server_id"] == everything.names[change.server] + ("-2" if is_new else "")
    assert any(row["server_id"].endswith("-2") for row in rows)


def test_a_service_has_every_role_and_its_servers_of_one_role_stand_in_different_zones():
    for service in range(4):
        servers = members(PLAN, service)
        assert {role_of(server).name for server in servers} == {"web", "app", "db", "cache", "batch", "store"}
        for role in (WEB, APP):
            zones = [zone_of(server) for server in servers if role_of(server) is role]
            assert sorted(zones) == ["a", "b", "c"]


def test_a_plain_fleet_in_the_same_folder_takes_the_additions_files_away(tmp_path):
    plan = FleetPlan(servers=2, days=1, step_s=600)
    made = generate(replace(plan, additions=frozenset({Addition.OBJECTIVES, Addition.DEPLOYS})), tmp_path)
    assert [p.name for p in made.other_paths] == [
        "services.csv", "changes.csv", "objectives.csv", "service_levels.parquet",
    ]  # fmt: skip
    generate(plan, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fleet.parquet", "incidents.csv"]


@pytest.mark.parametrize("additions", [*Addition, "all"])
def test_a_tiny_fleet_takes_any_addition(tmp_path, additions):
    plan = FleetPlan(servers=1, days=1, step_s=3600)
    chosen = frozenset(Addition) if additions == "all" else frozenset({additions})
    made = generate(replace(plan, additions=chosen), tmp_path)
    assert open_history(made.data_path, made.incidents_path).row_count == made.rows


def test_the_command_takes_additions_by_name(tmp_path, capsys):
    small = ["fleet", "generate", "--out", str(tmp_path), "--servers", "2", "--days", "1", "--step", "600"]
    assert run([*small, "--with", "disk-leaks, silent-agents", "--json"]) == 0
    assert "services.csv" in capsys.readouterr().out
    assert open_history(tmp_path / "fleet.parquet").metrics[-1] == "disk_used_percent"
    with pytest.raises(UsageError, match="--with has fires, expected some of objectives, deploys"):
        run([*small, "--with", "fires"])
