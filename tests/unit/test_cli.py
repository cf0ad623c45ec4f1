"""What a person may type wrong: one clear line, exit code 2, no traceback."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from cli.main import OK, run
from treeline.core.errors import UsageError


@pytest.fixture
def history(tmp_path):
    times = pd.date_range("2026-01-01", periods=300, freq="min", tz="UTC")
    frame = pd.DataFrame({"timestamp": times, "server_id": "web-1", "cpu_percent": np.arange(300.0)})
    path = tmp_path / "fleet.parquet"
    frame.to_parquet(path)
    return path


def refused(*arguments):
    with pytest.raises(UsageError) as error:
        run([str(a) for a in arguments])
    text = str(error.value)
    assert "\n" not in text
    return text


def test_no_command_shows_what_there_is(capsys):
    assert run([]) == OK
    assert "demo" in capsys.readouterr().out


def test_an_unknown_command_names_the_known_ones():
    assert "demo" in refused("dmeo")


def test_a_missing_file_is_named(tmp_path):
    assert "nowhere.parquet" in refused("demo", "--data", tmp_path / "nowhere.parquet")


def test_a_file_without_the_columns_is_refused_by_name(tmp_path):
    path = tmp_path / "odd.parquet"
    pd.DataFrame({"time": [1], "host": ["a"]}).to_parquet(path)
    assert "timestamp" in refused("demo", "--data", path)


def test_overlapping_incidents_are_refused(history, tmp_path):
    incidents = tmp_path / "incidents.csv"
    incidents.write_text(
        "server_id,start,end\nweb-1,2026-01-01T01:00,2026-01-01T02:00\nweb-1,2026-01-01T01:30,2026-01-01T03:00\n"
    )
    assert "overlap" in refused("demo", "--data", history, "--incidents", incidents)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--speed", "-1"], "-1"),
        (["--speed", "fast"], "fast"),
        (["--from", "yesterday"], "yesterday"),
        (["--from", "2026-01-03", "--to", "2026-01-02"], "--to"),
        (["--servers", "web"], "web"),
        (["--incidents", "x.csv"], "--data"),
        (["--servers", "0"], "servers"),
        (["--speed", "2", "--real-time"], "not allowed"),
    ],
)
def test_a_bad_option_is_named_with_its_value(arguments, named):
    assert named in refused("demo", *arguments)


def test_an_unknown_server_of_a_history_is_named(history):
    assert "web-9" in refused("demo", "--data", history, "--servers", "web-9")


def test_more_servers_than_the_history_has_are_refused(history):
    assert "--servers 5" in refused("demo", "--data", history, "--servers", "5")


def test_the_program_ends_with_two_and_without_a_traceback():
    program = [sys.executable, "-m", "treeline", "demo", "--speed", "-1"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    assert done.returncode == 2
    assert done.stderr.startswith("treeline: ")
    assert "Traceback" not in done.stderr
