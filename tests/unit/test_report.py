import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from report.data import Accounting, Clock, FaultMark, IncidentMark, LabelMark, ReportData, ServerTrace, judged_incidents
from report.drawing import TimeScale, duration, extremes, line_path, number, value_scale
from report.figure import picture
from report.page import render, write_report
from report.quality_table import PLACES, WORTH
from report.timeline import fleet_timeline
from training.evaluate.judge import evaluate_tiers
from training.evaluate.pages import Opening, Tier
from training.history.labels import Label
from training.history.observed import ObservedTimes
from treeline.core.alert import MetricEvidence
from treeline.core.profile import Metric

START = 1_793_000_000_000 // 86_400_000 * 86_400_000
MINUTE = 60_000
VOID = {"meta", "br"}


def trace(server: str, rows: int = 2000, metrics: int = 2) -> ServerTrace:
    rng = np.random.default_rng(3)
    values = rng.normal(50, 3, (rows, metrics))
    values[900:960, 0] += 40
    severity = np.abs(rng.normal(0, 0.3, rows))
    severity[:30] = np.nan
    severity[901:960] = 4.0
    expected = np.full_like(values, 50.0)
    return ServerTrace(
        server_id=server,
        times_ms=START + MINUTE * np.arange(rows),
        values=values,
        severity=severity,
        score=severity / 3 + 0.7,
        threshold=1.2,
        expected=expected,
        low=expected - 9,
        high=expected + 9,
    )


def report(servers=("web-1", "db<2>")) -> ReportData:
    label = Label(server_id="web-1", start_ms=START + 900 * MINUTE, end_ms=START + 959 * MINUTE, kind="cpu_spike")
    missed = Label(server_id="db<2>", start_ms=START + 300 * MINUTE, end_ms=START + 340 * MINUTE, kind="memory_leak")
    openings = [
        Opening(server_id="web-1", at_ms=START + 903 * MINUTE, priority="P1", incident_id="web-1/a"),
        Opening(server_id="web-1", at_ms=START + 1500 * MINUTE, priority="P2", incident_id="web-1/b"),
        Opening(server_id="db<2>", at_ms=START + 339 * MINUTE, priority="P2", incident_id="db/c"),
    ]
    span = (START, START + 1999 * MINUTE)
    evaluations = evaluate_tiers(
        [label, missed],
        openings,
        observed=dict.fromkeys(("web-1", "db<2>"), ObservedTimes(np.arange(span[0], span[1] + 1, MINUTE))),
        step_ms=MINUTE,
    )
    judged = judged_incidents(evaluations[Tier.ALL])
    evidence = MetricEvidence(name="cpu", measured=91.2, expected=50.0, low=41.0, high=59.0, deviation=13.7, unit="%")
    incidents = tuple(
        IncidentMark(
            incident_id=o.incident_id,
            server_id=o.server_id,
            priority=o.priority,
            opened_ms=o.at_ms,
            resolved_ms=o.at_ms + 100 * MINUTE,
            severity=3.9,
            score=2.0,
            threshold=1.2,
            evidence=(evidence,),
            pages=2,
        ).judged(judged[o.incident_id])
        for o in openings
    )
    seen = "severity at most 1.20; below P2 by 0.30"
    marks = tuple(replace(m, seen="" if m.found_by else seen) for m in LabelMark.of(evaluations[Tier.ALL]))
    return ReportData(
        title="Replay of <two> servers",
        subtitle="at 600 times real speed",
        start_ms=span[0],
        end_ms=span[1],
        metrics=(Metric(name="cpu", unit="%"), Metric(name="disk")),
        traces=tuple(trace(s) for s in servers),
        labels=marks,
        incidents=incidents,
        evaluations=evaluations,
        accounting=Accounting(
            sent=4000,
            stored=3990,
            quarantined=10,
            quarantine_reasons={"not_json": 10},
            scored=3930,
            warming_up=60,
            lost=0,
        ),
        clocks=(Clock(name="received to published", p50_s=1.3, p95_s=3.9, max_s=7, count=4, budget_s=4.3),),
        faults=(
            FaultMark(
                name="endpoint down", start_ms=START, end_ms=START + 600_000, outcome="no page lost", passed=True
            ),
        ),
        facts={"command": "treeline demo"},
    )


class Balanced(HTMLParser):
    """Fails on a tag that is not closed in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def text_of(page: str) -> str:
    return re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.S))


def test_the_page_is_well_formed_and_needs_no_network():
    page = render(report())
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert not re.search(r"https?://|src=|@import|url\(", page)
    for drawing in re.findall(r"<svg.*?</svg>", page, re.S):
        ET.fromstring(drawing)  # noqa: S314 - our own text


def test_every_incident_and_every_missed_label_has_its_entry_with_its_outcome():
    page = render(report())
    assert sorted(re.findall(r'data-outcome="(\w+)"', page)) == ["false", "missed", "onset", "recovery"]
    links = re.findall(r'href="#([^"]+)"', page)
    for anchor in links:
        assert f'id="{anchor}"' in page
    assert set(re.findall(r'<details class="episode" id="([^"]+)"', page)) == set(links)


def test_an_index_links_to_every_entry_by_what_it_came_to():
    index = re.search(r'<nav class="index">.*?</nav>', render(report()), re.S)[0]
    assert re.findall(r'class="badge (\w+)"', index) == ["onset", "missed", "recovery", "false"]
    assert len(re.findall("<a href", index)) == 4


def test_what_opened_as_the_trouble_ended_is_told_apart_by_word_and_shape():
    page = render(report())
    told = text_of(page)
    assert "false: recovery" in told
    assert "P2 opened at recovery" in told
    assert "counted as false" in told
    shapes = {name: re.search(rf'<path class="{name}" d="M[\d.]+ [\d.]+([^"]+)"><title>', page)[1]
              for name in ("mark p2 false recovery", "mark p2 false")}  # fmt: skip
    assert shapes["mark p2 false recovery"] != shapes["mark p2 false"]


def test_a_miss_says_what_was_seen_and_is_drawn_as_missed():
    page = render(report())
    assert "below P2 by 0.30" in text_of(page)
    assert "label starts, missed" in page
    assert 'class="labelled missed"' in page
    assert "label starts, missed" not in page.split('data-outcome="onset"')[1].split("</details>")[0]


def test_the_table_has_the_columns_of_quality_s():
    table = re.search(r"<tr><th>Counted as a page.*?</table>", render(report()), re.S)[0]
    heads = re.findall(r"<th>(.*?)</th>", table)[1:]
    assert heads == [name for name, _ in (*WORTH, *PLACES)]
    rows = [re.findall(r"<td>(.*?)</td>", row)[1:] for row in re.findall(r"<tr><td>.*?</tr>", table)]
    both = {name: re.sub("<br>.*", "", cell) for name, cell in zip(heads, rows[1], strict=True)}
    assert {name: both[name] for name in ("hit", "false", "onset", "later", "recovery", "repeats", "in vain")} == {
        "hit": "1/2", "false": "2", "onset": "1", "later": "0", "recovery": "1", "repeats": "0", "in vain": "0",
    }  # fmt: skip


def test_the_scoreboard_states_the_figures():
    told = re.sub(r"\s+", " ", text_of(render(report())))
    for words in (
        "1 of 2 incidents found",
        "0 records lost",
        "33 % of pages were right",
        "not_json 10",
        "no page lost",
    ):
        assert words in told
    assert "✓ sent = stored + set aside + repeated" in told


def test_books_that_do_not_add_up_are_shown_as_such():
    books = replace(report().accounting, stored=3980, lost=10)
    told = text_of(render(replace(report(), accounting=books)))
    assert "off by 10" in told


def test_names_are_escaped():
    page = render(report())
    assert "<two>" not in page
    assert "db<2>" not in page
    assert "db&lt;2&gt;" in page


def test_a_run_without_labels_incidents_or_measurements_still_makes_a_page():
    bare = replace(report(), labels=(), incidents=(), evaluations={}, accounting=None, clocks=(), faults=(), facts={})
    assert "None opened" in text_of(render(bare))
    bare = replace(
        bare, traces=(replace(trace("web-1"), score=None, threshold=None, expected=None, low=None, high=None),)
    )
    assert "web-1" in render(bare)


def test_a_server_without_rows_or_scores_is_drawn_as_absent():
    empty = ServerTrace(server_id="gone", times_ms=np.empty(0, np.int64), values=np.empty((0, 2)), severity=np.empty(0))
    silent = replace(trace("mute"), severity=np.full(2000, np.nan), score=None)
    page = render(replace(report(), traces=(*report().traces, empty, silent)))
    assert 'class="heat absent"' in page
    assert 'class="heat warming"' in page


def test_a_fleet_of_many_servers_shows_the_eventful_ones_and_says_how_many_are_left_out():
    many = tuple(replace(trace("web-1"), server_id=f"app-{i:03d}") for i in range(120))
    page = render(replace(report(), traces=(*report().traces, *many)))
    assert "42 more servers are not drawn" in page
    assert ">web-1</text>" in page


def test_writing_replaces_the_earlier_page_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(path, report())
    assert path.read_text().startswith("<!doctype html>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_the_picture_is_one_valid_svg_with_a_found_incident(tmp_path):
    picture(tmp_path / "replay.svg", report())
    drawing = (tmp_path / "replay.svg").read_text()
    assert ET.fromstring(drawing).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own text
    assert "web-1: cpu spike" in drawing


def test_thinning_keeps_every_extreme_in_time_order():
    times = np.arange(100_000, dtype=np.int64)
    values = np.sin(times / 500.0)
    values[77_777], values[123] = 9.0, -9.0
    kept_times, kept = extremes(times, values, start_ms=0, end_ms=99_999, columns=200)
    assert len(kept) <= 400
    assert (kept.max(), kept.min()) == (9.0, -9.0)
    assert np.all(np.diff(kept_times) > 0)


def test_a_line_is_broken_where_data_is_missing():
    times = MINUTE * np.array([0, 1, 2, 60, 61, 62], dtype=np.int64)
    xs = TimeScale(0, int(times[-1]), 0.0, 600.0)
    ys = value_scale([np.ones(6)], top=0.0, height=50.0)
    assert line_path(times, np.ones(6), xs, ys, columns=600, step_ms=MINUTE).count("M") == 2
    assert line_path(times, np.full(6, np.nan), xs, ys, columns=600, step_ms=MINUTE) == ""


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (None, "\u2013"),
        (0.25, "250 ms"),
        (42, "42 s"),
        (180, "3 min"),
        (7200, "2.0 h"),
        (-120, "\u22122 min"),
        (200_000, "2.3 days"),
    ],
)
def test_durations_are_told_in_a_unit_people_use(seconds, told):
    assert duration(seconds) == told


def test_numbers_keep_three_figures():
    assert [number(v) for v in (None, 0.01234, 97.345, 1234.5, 12_345.6)] == [
        "\u2013",
        "0.0123",
        "97.3",
        "1,234",
        "12,346",
    ]


def test_a_page_of_very_many_incidents_stays_under_five_megabytes():
    data = report()
    many = tuple(
        replace(data.incidents[1], incident_id=f"web-1/{i}", opened_ms=START + (50 + 3 * i) * MINUTE)
        for i in range(600)
    )
    page = render(replace(data, incidents=many, labels=()))
    assert page.count('data-outcome="false"') == 600
    assert page.count('class="closeup"') == 400
    assert len(page.encode()) < 5_000_000


def test_absent_times_are_drawn_as_absent_and_not_as_warming_up():
    drawn = report(servers=("web-1",))
    gone = drawn.traces[0]
    gone.values[:30] = np.nan
    gone.values[1200:1400], gone.severity[1200:1400] = np.nan, np.nan
    timeline, _ = fleet_timeline(drawn, {})
    assert 'class="heat absent"' in timeline
    assert 'class="heat warming"' not in timeline


def test_servers_that_were_never_judged_are_said_below_the_timeline():
    page = text_of(render(replace(report(), never_judged=("db<9>",))))
    assert "1 server was never judged: warming up (db&lt;9&gt;)." in page
