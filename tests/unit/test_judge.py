import numpy as np
import pytest

from training.evaluate.judge import Place, Verdict, evaluate, evaluate_tiers, f_score, place_of, pooled
from training.evaluate.pages import Opening, Tier, event_size, pages, paging
from training.history.labels import STANDARD, Label, Protocol, merge_labels
from training.history.observed import ObservedTimes

MINUTE = 60_000
DAY = 86_400_000
TWO_DAYS = ObservedTimes(np.arange(0, 2 * DAY, MINUTE))
OBSERVED = {"web-1": TWO_DAYS, "web-2": TWO_DAYS}
FLEET_OF_40 = {f"web-{i}": TWO_DAYS for i in range(1, 41)}  # k = 4


def judged(labels, openings, observed=OBSERVED, tier="P1", protocol=STANDARD):
    return evaluate(labels, openings, observed=observed, step_ms=MINUTE, tier=tier, protocol=protocol)


def both_tiers(labels, openings, observed=OBSERVED):
    return evaluate_tiers(labels, openings, observed=observed, step_ms=MINUTE)


def label(start: float, end: float, server: str = "web-1", kind: str = "") -> Label:
    return Label(server_id=server, start_ms=int(start * MINUTE), end_ms=int(end * MINUTE), kind=kind)


def opening(at: float, server: str = "web-1", priority: str = "P1", incident: str = "") -> Opening:
    return Opening(server_id=server, at_ms=int(at * MINUTE), priority=priority, incident_id=incident)


def test_a_label_is_found_by_an_opening_inside_it_and_the_delay_counts_from_its_onset():
    result = judged([label(100, 160)], [opening(112)])
    assert (result.hits, result.misses, result.false_pages) == (1, 0, 0)
    assert result.delay_p50_s == 12 * 60
    assert result.precision == result.recall == result.f1 == 1.0


@pytest.mark.parametrize(("minute", "place"), [(90, Place.ONSET), (89.9, None), (170, Place.RECOVERY), (170.1, None)])
def test_the_margin_is_ten_minutes_on_both_sides_inclusive(minute, place):
    result = judged([label(100, 160)], [opening(minute)])
    assert result.judged_openings[0].place is place


def test_repeats_inside_one_label_count_neither_way():
    result = judged([label(100, 400)], [opening(110), opening(200), opening(390)])
    assert (result.hits, result.repeats, result.false_pages) == (1, 2, 0)
    assert [j.verdict for j in result.judged_openings] == [Verdict.HIT, Verdict.REPEAT, Verdict.REPEAT]


def test_an_opening_of_another_server_finds_nothing():
    result = judged([label(100, 160)], [opening(110, server="web-2")])
    assert (result.hits, result.misses, result.false_pages) == (0, 1, 1)
    assert {row.name: row.false_pages for row in result.per_server} == {"web-1": 0, "web-2": 1}


def test_labels_under_an_hour_apart_are_one_and_an_hour_apart_are_two():
    assert merge_labels([label(0, 10, kind="a"), label(69, 80, kind="b")], gap_ms=60 * MINUTE) == [
        label(0, 80, kind="a+b")
    ]
    assert len(merge_labels([label(0, 10), label(70, 80)], gap_ms=60 * MINUTE)) == 2
    assert len(merge_labels([label(0, 10), label(12, 20, server="web-2")], gap_ms=60 * MINUTE)) == 2


def test_an_incident_that_rises_to_p1_pages_once_in_each_tier_at_its_own_time():
    openings = [opening(105, priority="P2", incident="i"), opening(130, priority="P1", incident="i")]
    results = both_tiers([label(100, 160)], openings)
    assert results[Tier.P1].delay_p50_s == 30 * 60
    assert results[Tier.ALL].delay_p50_s == 5 * 60
    assert results[Tier.ALL].repeats == 0


def test_p2_openings_do_not_page_in_the_p1_tier():
    results = both_tiers([label(900, 930)], [opening(105, priority="P2")])
    assert (results[Tier.P1].false_pages, results[Tier.ALL].false_pages) == (0, 1)


def test_false_pages_are_counted_per_server_day():
    result = judged([], [opening(10), opening(500), opening(10, server="web-2")])
    assert result.server_days == 4.0
    assert result.false_pages_per_server_day == 0.75


def test_figures_without_a_basis_are_none():
    silent = judged([label(100, 160)], [])
    assert (silent.precision, silent.recall, silent.f1, silent.delay_p50_s) == (None, 0.0, 0.0, None)
    unlabelled = judged([], [opening(5)])
    assert (unlabelled.precision, unlabelled.recall, unlabelled.intervals.recall) == (0.0, None, None)
    empty = judged([], [], observed={})
    assert (empty.f1, empty.intervals.f1, empty.false_pages_per_server_day) == (None, None, None)


def test_labels_outside_the_observed_range_are_left_out_and_counted():
    labels = [label(-500, -300), label(5000, 5100), label(-20, 30), label(7, 9, server="db-9")]
    result = judged(labels, [opening(3)], observed={"web-1": ObservedTimes(np.arange(0, DAY, MINUTE))})
    assert (result.labels, result.labels_outside) == (1, 3)
    assert result.delay_p50_s == 180  # from the first observed moment


def test_an_opening_of_an_unobserved_server_is_an_error():
    with pytest.raises(ValueError, match="db-9"):
        judged([], [opening(3, server="db-9")])


def test_f_half_weighs_precision_more():
    assert f_score(5, 5, 0, beta=0.5) == pytest.approx(1.25 * 5 / (1.25 * 5 + 0.25 * 5))
    assert f_score(5, 5, 0, beta=0.5) > f_score(5, 0, 5, beta=0.5)


def test_intervals_hold_the_figure_and_repeat():
    labels = [label(1000 * i, 1000 * i + 30) for i in range(40)]
    openings = [opening(1000 * i + 5) for i in range(0, 40, 2)] + [opening(1000 * i + 500) for i in range(10)]
    span = {"web-1": ObservedTimes(np.arange(0, 40 * DAY, MINUTE))}
    first, second = (judged(labels, openings, observed=span) for _ in range(2))
    assert first.intervals.precision == second.intervals.precision
    assert first.intervals.precision.low < first.precision < first.intervals.precision.high
    assert first.intervals.recall.low < first.recall < first.intervals.recall.high
    assert first.intervals.f1.low < first.f1 < first.intervals.f1.high


def test_kinds_are_told_apart():
    labels = [label(100, 130, kind="leak"), label(900, 930, kind="spike")]
    result = judged(labels, [opening(905)])
    assert {row.name: (row.hits, row.labels) for row in result.per_kind} == {"leak": (0, 1), "spike": (1, 1)}
    assert "judged_labels" not in result.to_json()


@pytest.mark.parametrize(
    ("length", "at", "place"),
    [
        (20, -5, Place.ONSET),  # before it, within the margin
        (20, 10, Place.ONSET),  # half of a short label
        (20, 11, Place.LATER),
        (20, 17.9, Place.LATER),
        (20, 18, Place.RECOVERY),
        (20, 25, Place.RECOVERY),
        (600, 30, Place.ONSET),  # 30 min of a long one
        (600, 31, Place.LATER),
        (600, 539, Place.LATER),
        (600, 540, Place.RECOVERY),  # the last 10 %
        (10, 7.9, Place.LATER),
        (10, 8, Place.RECOVERY),  # two steps, which are more than 10 %
        (4, 3, Place.ONSET),  # three steps, though they are more than half, and though two are the end
        (4, 4, Place.RECOVERY),
    ],
)
def test_where_in_a_label_a_page_comes(length, at, place):
    assert place_of(label(100, 100 + length), int((100 + at) * MINUTE), MINUTE) is place


def test_a_label_around_a_point_has_an_onset_and_no_recovery():
    window = Label(server_id="web-1", start_ms=0, end_ms=600 * MINUTE, onset_ms=300 * MINUTE)
    at = {minute: place_of(window, minute * MINUTE, MINUTE) for minute in (1, 330, 331, 599)}
    assert at == {1: Place.ONSET, 330: Place.ONSET, 331: Place.LATER, 599: Place.LATER}


def test_a_page_at_the_recovery_hits_nothing_and_is_false():
    result = judged([label(100, 160)], [opening(159)])
    assert (result.hits, result.misses, result.false_pages, result.recoveries, result.in_vain) == (0, 1, 1, 1, 0)
    assert (result.judged_openings[0].place, result.judged_labels[0].opening) == (Place.RECOVERY, None)


def test_a_page_at_the_recovery_of_a_label_that_was_hit_is_a_repeat():
    result = judged([label(100, 160)], [opening(130), opening(165)])
    assert (result.hits, result.repeats, result.false_pages, result.recoveries) == (1, 1, 0, 0)


def test_hits_at_the_onset_and_later_are_told_apart():
    result = judged([label(100, 400), label(1000, 1300)], [opening(110), opening(1100)])
    assert (result.hits, result.hits_at_onset) == (2, 1)


def test_a_label_that_begins_is_preferred_to_one_that_ends():
    protocol = Protocol(merge_ms=0)
    result = judged([label(100, 160), label(168, 200)], [opening(165)], protocol=protocol)
    assert (result.hits, result.false_pages) == (1, 0)
    assert result.judged_openings[0].label == label(168, 200)


def many(minute, count, first=1):
    return [opening(minute, server=f"web-{i}", incident=f"i{i}@{minute}") for i in range(first, first + count)]


@pytest.mark.parametrize(("servers", "least"), [(2, 3), (30, 3), (31, 4), (500, 50)])
def test_how_many_servers_make_an_event(servers, least):
    assert event_size(servers) == least


def test_openings_of_one_step_are_one_page_from_k_servers_on():
    def sizes(openings):
        return [len(page.openings) for page in pages(openings, servers=40, step_ms=MINUTE, protocol=STANDARD)]

    assert sizes(many(100, 3)) == [1, 1, 1]
    assert sizes(many(100, 4)) == [4]
    assert sizes([*many(100, 3), *many(101, 3, first=4)]) == [1] * 6  # another step


def test_who_is_decided_later_than_a_page_waits_has_a_page_of_his_own():
    clock = [0, 500, 1900, 2000, 2001]
    openings = [
        Opening(server_id=f"web-{i}", at_ms=MINUTE, priority="P1", incident_id=str(i), decided_ms=ms)
        for i, ms in enumerate(clock)
    ]
    sent = pages(openings, servers=40, step_ms=MINUTE, protocol=STANDARD)
    assert [len(page.openings) for page in sent] == [4, 1]
    alone = pages(openings, servers=40, step_ms=MINUTE, protocol=Protocol(coalesce_s=None))
    assert [len(page.openings) for page in alone] == [1] * 5


def test_an_event_found_over_time_keeps_its_early_pages_and_takes_in_who_comes_later():
    live = Protocol(coalesce_s=None, event_window_ms=15 * MINUTE)
    openings = [*many(100, 1), *many(105, 2, first=2), *many(110, 1, first=4), *many(124, 1, first=5)]
    sent = pages(paging(openings, Tier.P1), servers=40, step_ms=MINUTE, protocol=live)
    assert [(len(page.openings), len(page.earlier)) for page in sent] == [(1, 0), (1, 0), (1, 0), (2, 3)]
    joined = paging([*openings, *many(138, 1, first=6)], Tier.P1)
    assert len(pages(joined, servers=40, step_ms=MINUTE, protocol=live)) == 4
    late = pages(paging([*openings, *many(140, 1, first=6)], Tier.P1), servers=40, step_ms=MINUTE, protocol=live)
    assert len(late) == 5


def test_an_event_needs_its_servers_within_the_window():
    live = Protocol(coalesce_s=None, event_window_ms=15 * MINUTE)
    openings = paging([*many(100, 3), *many(116, 1, first=4)], Tier.P1)
    assert not any(page.is_event for page in pages(openings, servers=40, step_ms=MINUTE, protocol=live))


def test_without_a_window_only_who_waits_for_each_other_makes_an_event():
    openings = [
        Opening(server_id=f"web-{i}", at_ms=MINUTE, priority="P1", incident_id=str(i), decided_ms=5000 * (i // 3))
        for i in range(6)
    ]
    assert len(pages(openings, servers=40, step_ms=MINUTE, protocol=STANDARD)) == 6


def test_the_page_of_an_event_hits_the_labels_of_its_servers():
    labels = [label(95, 160, server=f"web-{i}") for i in range(1, 5)]
    result = judged(labels, many(100, 6), observed=FLEET_OF_40)
    assert (result.hits, result.pages, result.false_pages, result.in_vain) == (4, 1, 0, 2)
    assert result.precision == 1.0


@pytest.mark.parametrize(("listed", "labelled", "false"), [(4, 1, 1), (4, 2, 0), (10, 3, 1), (10, 4, 0), (40, 4, 0)])
def test_the_page_of_an_event_is_true_when_k_or_half_of_its_servers_are_labelled(listed, labelled, false):
    labels = [label(95, 160, server=f"web-{i}") for i in range(1, labelled + 1)]
    result = judged(labels, many(100, listed), observed=FLEET_OF_40)
    assert (result.false_pages, result.hits, result.in_vain) == (false, labelled, listed - labelled)
    assert [row.name for row in result.per_server if row.false_pages] == ["fleet"] * false


def test_who_was_paged_before_an_event_counts_for_its_truth_and_is_not_hit_twice():
    live = Protocol(coalesce_s=None, event_window_ms=15 * MINUTE)
    labels = [label(95, 160, server=f"web-{i}") for i in range(1, 4)]
    openings = [*many(100, 3), *many(103, 1, first=4)]
    result = judged(labels, openings, observed=FLEET_OF_40, protocol=live)
    assert (result.pages, result.hits, result.repeats, result.false_pages, result.in_vain) == (4, 3, 1, 0, 1)


def test_an_incident_that_names_no_server_hits_nothing_and_is_true_beside_k_labels():
    labels = [label(95, 160, server=f"web-{i}") for i in range(1, 5)]
    true = judged(labels, [opening(100, server="fleet")], observed=FLEET_OF_40)
    assert (true.hits, true.repeats, true.false_pages) == (0, 1, 0)
    false = judged(labels[:3], [opening(100, server="fleet")], observed=FLEET_OF_40)
    assert (false.hits, false.repeats, false.false_pages) == (0, 0, 1)
    assert false.per_server[-1].name == "fleet"
    beside = judged(labels, [opening(100, server="fleet"), *many(100, 4)], observed=FLEET_OF_40)
    assert (beside.pages, beside.hits, beside.repeats) == (2, 4, 1)


def test_a_server_that_sent_nothing_was_not_watched():
    times = np.concatenate([np.arange(0, DAY, MINUTE), np.arange(9 * DAY, 10 * DAY, MINUTE)])
    gap = {"web-1": ObservedTimes(times)}
    result = judged([label(3 * 1440, 3 * 1440 + 60)], [opening(10)], observed=gap)
    assert result.server_days == pytest.approx(2, abs=0.01)
    assert (result.labels, result.labels_outside) == (0, 1)


def test_a_silence_is_a_label_though_nothing_was_observed_in_it():
    times = np.concatenate([np.arange(0, DAY, MINUTE), np.arange(2 * DAY, 3 * DAY, MINUTE)])
    result = judged([label(1440, 2879, kind="silent")], [], observed={"web-1": ObservedTimes(times)})
    assert (result.labels, result.misses, result.labels_outside) == (1, 1, 0)


def test_a_delay_counts_from_the_first_observation_of_the_trouble():
    times = np.concatenate([np.arange(0, 100 * MINUTE, MINUTE), np.arange(120 * MINUTE, DAY, MINUTE)])
    result = judged([label(100, 300)], [opening(125)], observed={"web-1": ObservedTimes(times)})
    assert result.delay_p50_s == 5 * 60


def test_lead_time_is_the_page_against_the_first_breach_of_the_objective():
    def breached(start, at, server="web-1"):
        return Label(
            server_id=server,
            start_ms=start * MINUTE,
            end_ms=(start + 200) * MINUTE,
            breached_ms=at * MINUTE,
            kind="leak",
        )

    labels = [
        breached(100, 190),
        breached(600, 670),
        breached(100, 110, "web-2"),
        breached(500, 510, "web-2"),
        label(900, 930, server="web-2"),
    ]
    pages_at = [opening(130), opening(620), opening(515, server="web-2"), opening(905, server="web-2")]
    result = judged(labels, pages_at)
    assert (result.breached, result.before_breach, result.lead_p50_s) == (4, 2, 55 * 60)  # of those that came before it
    assert [(row.name, row.breached, row.before_breach) for row in result.per_kind] == [("leak", 4, 2)]


def test_merged_labels_keep_the_first_breach():
    first, second = label(0, 10), Label(server_id="web-1", start_ms=20 * MINUTE, end_ms=30 * MINUTE, breached_ms=7)
    assert merge_labels([first, second], gap_ms=60 * MINUTE)[0].breached_ms == 7


def test_fleets_judged_as_one_add_up():
    first = judged([label(100, 160)], [opening(112)])
    second = judged([label(100, 160), label(900, 930)], [opening(500), opening(105)])
    both = pooled({"7": first, "8": second})
    assert (both.hits, both.labels, both.false_pages, both.server_days) == (2, 3, 1, 8.0)
    assert both.delay_p50_s == (12 + 5) / 2 * 60
    assert [row.name for row in both.per_server] == ["7/web-1", "7/web-2", "8/web-1", "8/web-2"]


@pytest.mark.parametrize("times", [[], [2, 1], [1, 1]])
def test_observed_times_increase(times):
    with pytest.raises(ValueError, match="increase"):
        ObservedTimes(np.array(times, dtype=np.int64))
