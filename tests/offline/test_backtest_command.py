"""`treeline backtest` on a small fleet: the figures it prints, and how it refuses what it cannot use."""

import csv
import html
import io
import json
from contextlib import redirect_stdout
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from cli.backtest_screen import MOST_LISTED, page_table
from cli.main import run
from report.backtest.entries import BacktestPage
from report.backtest.evidence import PageCause
from report.console import wide_console
from tests.unit.detection_fakes import fleet
from tests.unit.history_files import write_history
from training.evaluate.backtest import backtest
from training.evaluate.experiment import Setup, fit_model, groups_of, openings, split_grids
from training.evaluate.judge import Place, Verdict
from training.history.files import open_history
from training.history.labels import NAB_WINDOWS, Protocol
from treeline.core.channels.relation import Relation
from treeline.core.detection.policy import PolicySettings
from treeline.core.errors import UsageError
from treeline.core.times import iso

TRAIN, TEST = 1200, 260  # four days and most of a fifth at five minutes
STEP_MS = 300_000


@pytest.fixture(scope="module")
def history_files(tmp_path_factory):
    """Six servers of which two go wrong in the test part; metrics without names of any meaning."""
    folder = tmp_path_factory.mktemp("history")
    grid = fleet(6, TRAIN + TEST)
    times = grid.times_ms[0] + STEP_MS * np.arange(TRAIN + TEST)
    grid.values[TRAIN + 100 : TRAIN + 130, 1] += 60.0
    grid.values[TRAIN + 200 : TRAIN + 230, 4, 2:] += 80.0
    named = replace(grid, times_ms=times, metrics=("m01", "m02", "m03", "m04"), step_s=300.0)
    write_history(folder / "fleet.parquet", named, train=TRAIN)
    with (folder / "incidents.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["server_id", "start", "end"])
        for server, first in ((1, 100), (4, 200), (5, 150)):
            rows.writerow([f"web-{server:02d}", iso(int(times[TRAIN + first])), iso(int(times[TRAIN + first + 29]))])
    return folder


@pytest.fixture(scope="module")
def result(history_files):
    """What the command leaves behind."""
    out, page = history_files / "out.json", history_files / "out.html"
    arguments = ["--data", str(history_files / "fleet.parquet"), "--incidents", str(history_files / "incidents.csv")]
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert run(["backtest", *arguments, "--json", str(out), "--html", str(page)]) == 0
    return json.loads(out.read_text()), page.read_text(), printed.getvalue()


def test_faults_are_hit_and_an_incident_that_left_no_trace_is_missed(result):
    tier = result[0]["detectors"]["Treeline"]["tiers"]["P1+P2"]
    assert (tier["labels"], tier["hits"], tier["misses"]) == (3, 2, 1)
    assert {row["name"]: row["hits"] for row in tier["per_server"]}["web-05"] == 0
    assert tier["recall"] == pytest.approx(2 / 3)
    assert tier["intervals"]["recall"]["low"] < tier["recall"] < tier["intervals"]["recall"]["high"]
    assert tier["intervals"]["unit"] == "server"
    assert tier["server_days"] == pytest.approx(6 * TEST * STEP_MS / 86_400_000)


def test_the_result_tells_how_it_came_about(result):
    body, page, _ = result
    assert (body["split_by"], body["step_s"], body["metrics"]) == ("column", 300.0, ["m01", "m02", "m03", "m04"])
    assert body["trained"]["observations"] == 6 * TRAIN
    assert body["protocol"] == {"merge_min": 60.0, "margin_min": 10.0, "point_adjusted": False, "interval": 0.95}
    points = body["detectors"]["Treeline"]["points"]
    assert points["auc_pr"] > 3 * points["positives"]
    assert "web-01" in page
    assert html.escape(f"calibration: {json.dumps(body['setup']['calibration'])}") in page
    assert "ScoreChannel" not in page
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_command_finds_what_the_core_finds(history_files, result):
    history = open_history(history_files / "fleet.parquet", history_files / "incidents.csv")
    past, present = split_grids(history)
    package, forest = fit_model(past, Setup())
    done = backtest(package, present, forest.score, PolicySettings(), groups=groups_of(present))
    assert [(o.server_id, iso(o.at_ms)) for o in openings(done.changes)] == [
        (i["server_id"], i["at"]) for i in result[0]["incidents"] if i["event"] in ("opened", "escalated")
    ]


def test_every_page_is_listed_with_its_worth_and_why_it_paged(result):
    body, page, printed = result
    hits = [entry for entry in body["pages"] if entry["verdict"] == "hit"]
    assert [entry["servers"] for entry in hits] == [["web-01"], ["web-04"]]
    for entry in hits:
        assert entry["place"] == "onset"
        assert entry["delay_s"] == 300.0  # the second of two observations decides
        assert entry["incidents"] == [f"{entry['servers'][0]}/{entry['at']}"]
        assert entry["metrics"][0]["measured"] > entry["metrics"][0]["high"]
        assert entry["at"][:16] + "Z" in printed
        assert entry["metrics"][0]["name"] in printed
        channel = entry["channel"]
        assert channel["measure"] > channel["threshold"] > 0
        assert entry["metrics_at"] <= entry["at"]
        said = f"{channel['name']} {channel['measure']:.1f}, {channel['priority']} above {channel['threshold']:.1f}"
        assert said in page
        assert f"decided by {said}" in page
        assert channel["name"] in printed
        assert f"opened {entry['at'][:16].replace('T', ' ')}" in page
    assert hits[1]["metrics"][0]["name"] in ("m03", "m04")
    assert "hit, onset" in printed


def test_a_miss_says_what_the_detector_saw_of_it(result):
    body, page, printed = result
    (miss,) = body["misses"]
    assert miss["server_id"] == "web-05"
    assert miss["start"] <= miss["highest_severity_at"] <= miss["end"]
    assert miss["start"] <= miss["metric_at"] <= miss["end"]
    assert miss["highest_severity"] < 1.5
    assert miss["why"] == f"below P2 by {1.5 - miss['highest_severity']:.2f}"
    assert "Missed: 1" in printed
    assert miss["why"] in page
    by_server = {label["server_id"]: label for label in body["judged_labels"]}
    assert by_server["web-05"]["P1+P2"] == {"hit_by": None, "place": None, "delay_s": None, "lead_s": None}
    assert by_server["web-01"]["P1+P2"]["hit_by"] in {name for entry in body["pages"] for name in entry["incidents"]}


def test_long_lists_are_cut_and_say_where_the_rest_is(result, capsys):
    entry = BacktestPage(
        at_ms=0, servers=("web[1]", "b"), incidents=("web[1]/x",), priority="P1", verdict=Verdict.FALSE,
        place=Place.RECOVERY, kind="", delay_s=None,
        cause=PageCause(channel=None, metrics=(), metrics_at_ms=None),
    )  # fmt: skip
    wide_console().print(page_table([entry] * (MOST_LISTED + 3)))
    told = capsys.readouterr().out
    assert "... 3 more in --json and --html" in told
    assert told.count("web[1] and 1 more") == MOST_LISTED
    assert "false, recovery" in told


def test_a_stricter_configuration_opens_less(history_files, result, tmp_path):
    strict = "{p2: 8, p1: 16}"  # for either model evidence
    (tmp_path / "strict.yaml").write_text(
        "detection: {policy: {needed: 3}}\n"
        f"model: {{threshold_factor: 100, calibration: {{score: {strict}, relation: {strict}}}}}\n"
    )
    out = tmp_path / "strict.json"
    arguments = ["--data", str(history_files / "fleet.parquet"), "--incidents", str(history_files / "incidents.csv")]
    assert run(["backtest", *arguments, "--config", str(tmp_path / "strict.yaml"), "--json", str(out)]) == 0
    body = json.loads(out.read_text())
    assert body["setup"]["policy"]["needed"] == 3
    assert body["setup"]["calibration"]["score"]["p2"] == 800
    assert body["detectors"]["Treeline"]["openings"]["P1+P2"] == 0
    assert result[0]["detectors"]["Treeline"]["openings"]["P1+P2"] >= 2


def test_a_configuration_that_names_one_threshold_leaves_all_others_as_fitted(tmp_path):
    (tmp_path / "c.yaml").write_text("model: {calibration: {tail: {p1: 1234.5}}}")
    past = fleet(3, 600)
    fitted, changed = (fit_model(past, setup)[0] for setup in (Setup(), Setup.read(tmp_path / "c.yaml")))
    tail = replace(fitted.calibration["tail"], p1=1234.5)
    assert changed.calibration.thresholds == {**fitted.calibration.thresholds, "tail": tail}
    assert fitted.calibration["relation"] != Relation.floors, "fitted, and not its floors"
    assert changed.manifest == fitted.manifest, "a later budget begins from what was fitted"


def test_a_threshold_that_does_not_fit_beside_the_fitted_one_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_text("model: {calibration: {day: {p2: 1234.5}}}")
    with pytest.raises(UsageError, match=r"beside the thresholds that were fitted: .* p2=1234.5"):
        fit_model(fleet(3, 600), Setup.read(tmp_path / "c.yaml"))


def test_without_labels_nothing_is_judged(history_files, capsys):
    arguments = ["--data", str(history_files / "fleet.parquet"), "--train-fraction", "0.8", "--json", "-"]
    assert run(["backtest", *arguments]) == 0
    printed = capsys.readouterr()
    body = json.loads(printed.out)
    assert {(entry["verdict"], entry["place"]) for entry in body["pages"]} == {(None, None)}
    assert {"web-01", "web-04"} <= {server for entry in body["pages"] for server in entry["servers"]}
    assert all(entry["at"][:16] + "Z" in printed.err for entry in body["pages"])
    assert body["misses"] == []
    assert body["split_by"] == "fraction"
    assert body["detectors"]["Treeline"]["tiers"] == {}
    assert body["detectors"]["Treeline"]["openings"]["P1+P2"] >= 2


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--data", "nowhere.parquet"], "does not exist"),
        (["--data", "{data}", "--train-fraction", "1.5"], "between 0 and 1"),
        (["--data", "{data}", "--train-until", "yesterday"], "expected a date"),
        (["--data", "{data}", "--train-until", "2099-01-01"], "leaves no rows"),
        (["--data", "{data}", "--train-fraction", "0.01"], "at least 100 are needed"),
        (["--data", "{data}", "--servers", "db-1"], "db-1 is not in"),
        (["--data", "{data}", "--html", "/nonexistent/x.html"], "does not exist"),
        (["--data", "{data}", "--config", "/nonexistent/x.yaml"], "not a readable YAML"),
        (["--data", "{data}", "--incidents", "/nonexistent/x.csv"], "does not exist"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(history_files, options, complaint):
    arguments = [option.format(data=history_files / "fleet.parquet") for option in options]
    with pytest.raises(UsageError, match=complaint) as error:
        run(["backtest", *arguments])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- 1", "holds list"),
        ("detection: {policy: {needed: 9}}", "needed"),
        ("model: {trees: 5}", "model.trees is unknown"),
        ("model: {calibration: {score: {p2: 9, p1: 3}}}", "p2 < p1"),
        ("a: [", "not a readable YAML"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(tmp_path, text, complaint):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=complaint) as error:
        Setup.read(path)
    assert "\n" not in str(error.value)


def series_file(folder):
    """Two series of different years in NAB's form; one repeats a time stamp."""
    first = np.arange("2014-02-14T14:30", "2014-02-16T14:30", np.timedelta64(5, "m"), dtype="datetime64[m]")
    second = first - np.timedelta64(300, "D")
    times = np.concatenate([first, first[-1:], second]).astype("datetime64[us]")
    names = ["cpu"] * (len(first) + 1) + ["requests"] * len(second)
    values = np.concatenate([np.zeros(len(first)), [7.0], np.ones(len(second))])
    flags = np.zeros(len(times), dtype=bool)
    path = folder / "realAWS.parquet"
    columns = {"series": names, "timestamp": times, "value": values, "point": flags, "window": flags}
    pq.write_table(pa.table(columns), path)
    labels = folder / "windows.csv"
    labels.write_text(
        "folder,series,start,end,rows,points\n"
        "realAWS,cpu,2014-02-15 20:00:00,2014-02-15 22:00:00,25,2014-02-15T21:00:00\n"
        "elsewhere,taxis,2014-02-15 20:00:00,2014-02-15 22:00:00,25,2014-02-15T21:00:00\n"
    )
    return path, labels


def test_series_and_windows_are_read_as_nab_defines_them(tmp_path):
    history = open_history(*series_file(tmp_path))
    assert (history.servers, history.metrics) == (("cpu", "requests"), ("value",))
    assert history.protocol == NAB_WINDOWS == Protocol(merge_ms=0, margin_ms=0)
    (label,) = history.incidents
    assert (iso(label.start_ms)[11:16], iso(label.began_ms)[11:16]) == ("20:00", "21:00")
    times, values = history.matrix("cpu")
    assert len(times) == 576
    assert values[-1] == 7.0  # the last of two rows of one time


def test_series_of_different_years_are_each_trained_on_their_own_first_half(tmp_path):
    history = open_history(*series_file(tmp_path))
    for series in history.servers:
        train, test = (history.matrix(series, part=part)[0] for part in ("train", "test"))
        assert abs(len(train) - len(test)) <= 1
        assert train[-1] < test[0]


def test_a_server_that_sent_nothing_for_eight_of_ten_days_was_observed_for_two(tmp_path):
    """A file without its rows, as agents that fall silent leave it: false pages a server-day count on 22 days."""
    day, step_ms = 144, 600_000
    grid = fleet(3, 20 * day)
    times = grid.times_ms[0] + step_ms * np.arange(20 * day)
    path = write_history(tmp_path / "whole.parquet", replace(grid, times_ms=times, step_s=600.0), train=10 * day)
    table = pq.read_table(path)
    first, last = pa.scalar(int(times[11 * day]), pa.int64()), pa.scalar(int(times[19 * day]), pa.int64())
    at = table["timestamp"].cast(pa.int64())
    silent = pc.and_(pc.and_(pc.greater_equal(at, first), pc.less(at, last)), pc.equal(table["server_id"], "web-02"))
    gap = tmp_path / "gap.parquet"
    pq.write_table(table.filter(pc.invert(silent)), gap)
    labels, out = tmp_path / "incidents.csv", tmp_path / "out.json"
    labels.write_text(f"server_id,start,end\nweb-00,{iso(int(times[12 * day]))},{iso(int(times[12 * day + 6]))}\n")
    assert run(["backtest", "--data", str(gap), "--incidents", str(labels), "--json", str(out)]) == 0
    tier = json.loads(out.read_text())["detectors"]["Treeline"]["tiers"]["P1+P2"]
    days = {row["name"]: row["observed_days"] for row in tier["per_server"]}
    assert (days["web-00"], days["web-02"]) == (pytest.approx(10), pytest.approx(2, abs=0.02))
    assert tier["server_days"] == pytest.approx(22, abs=0.02)


def test_rules_stand_beside_ours_and_are_judged_alike(history_files, tmp_path, capsys):
    out = tmp_path / "out.json"
    files = [str(history_files / name) for name in ("fleet.parquet", "incidents.csv")]
    options = ["--compare", "--peers", "mean + 3 sigma,static alarms", "--json", str(out)]
    assert run(["backtest", "--data", files[0], "--incidents", files[1], *options]) == 0
    told = json.loads(out.read_text())["detectors"]
    assert list(told) == ["Treeline", "mean + 3 sigma", "static alarms"]
    assert told["mean + 3 sigma"]["tiers"]["P1"]["hits"] == 2
    assert told["static alarms"]["openings"] == {"P1": 0, "P1+P2": 0}  # no metric says what it is
    printed = " ".join(capsys.readouterr().out.split())
    assert "rules as people set them" in printed
    assert "static alarms: no metric here has a usual limit" in printed
