"""What the custom widgets show."""

from treeline.app.widgets.fleet_map import FleetView, GroupView, ServerView, fleet_html
from treeline.app.widgets.html import incidents_html, model_html


def _alert(server: str, priority: str, severity: float) -> dict:
    metric = {"name": "cpu_percent", "unit": "%", "measured": 90.5, "expected": 30.0, "low": 10.0, "high": 50.0,
              "deviation": 5.5}  # fmt: skip
    return {
        "incident_id": f"{server}/x", "priority": priority, "severity": severity, "server_id": server,
        "clocks": {"first_anomalous_at": "2026-11-23T10:00:00.000Z"}, "metrics": [metric],
        "runbook_url": "https://treeline.invalid/r",
    }  # fmt: skip


def test_five_hundred_servers_are_five_hundred_cells_with_silent_ones_by_name():
    groups = [
        GroupView(number=g, servers=[ServerView(server_id=f"s{50 * g + i}", severity=0.1) for i in range(50)])
        for g in range(9)
    ]
    last = [
        ServerView(server_id="bad", severity=4.0, has_incident=True),
        ServerView(server_id="gone", severity=0.0, is_silent=True),
        ServerView(server_id="new", severity=0.0, is_warming_up=True),
        *(ServerView(server_id=f"t{i}", severity=2.0) for i in range(47)),
    ]
    html = fleet_html(FleetView(expected=501, groups=[*groups, GroupView(number=9, servers=last)], model_version="m"))

    assert html.count('class="server"') == 500
    assert "<b>501</b> expected" in html
    assert "<b>499</b> reporting" in html
    assert "Silent: gone" in html
    assert "bad: P1, severity 4.0" in html
    assert len(html) < 150_000


def test_an_empty_fleet_says_why():
    assert "No model is active" in fleet_html(FleetView(expected=3))
    assert "met no server" in fleet_html(FleetView(expected=0, model_version="m"))


def test_the_worst_incident_comes_first_with_its_evidence():
    html = incidents_html([_alert("a", "P2", 2.0), _alert("b", "P1", 9.0)], limit=50)

    assert html.index(">b<") < html.index(">a<")
    assert "cpu 90.5 %, expected 30 (10 to 50)" in html


def test_what_a_server_calls_itself_cannot_become_markup():
    html = incidents_html([_alert("<script>x</script>", "P1", 9.0)], limit=1)
    fleet = FleetView(expected=1, groups=[GroupView(number=0, servers=[ServerView(server_id="<b>", severity=0)])])

    assert "<script>" not in html
    assert "there may be more" in html
    assert "<title><b>" not in fleet_html(fleet)


def test_the_model_that_decides_is_shown_and_its_absence():
    assert "No model is active" in model_html({})
    html = model_html({"active": {"model_version": "m-1"}, "canary": {"model_version": "m-2"}})
    assert html.index("m-1") < html.index("m-2")
    assert "No canary" not in html
