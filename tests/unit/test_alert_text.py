"""What a person reads in the mail of an alert, and that SNS takes its subject whatever a server is called."""

from dataclasses import replace

import pytest

from tests.unit.paging_fakes import alert
from treeline.app.alert import text as alert_text
from treeline.core.alert import AlertEvent
from treeline.core.detection.policy import FLEET


def test_the_mail_of_an_opening_says_what_moved_what_was_expected_and_what_to_do():
    text = alert_text.mail(alert(), stage="prod")

    assert text.startswith("web-042 is far from its normal.\n")
    assert "cpu 97.3 %, expected 41 (22 to 60) at this time of day" in text
    assert "P1, severity 3.4 (P2 from 1.5, P1 above 3.0)" in text
    assert "treeline explain web-042/2026-11-22T15:58:30.000Z --stage prod" in text
    assert "treeline mute add --server web-042 --for 2h" in text
    assert "Runbook: " in text


def test_the_mail_of_a_resolution_says_so_and_asks_for_nothing():
    text = alert_text.mail(alert(event=AlertEvent.RESOLVED), stage="prod")

    assert text.startswith("web-042 is back to its normal.\n")
    assert "treeline mute" not in text
    assert "expected" not in text


def test_a_missing_value_is_named_as_missing():
    one = alert()
    missing = replace(one, metrics=[replace(one.metrics[0], measured=None)])

    assert "cpu missing, expected 41 (" in alert_text.mail(missing, stage="prod")


def test_the_fleet_is_not_muted_like_a_server():
    assert "mute add --server" not in alert_text.mail(alert(server_id=FLEET), stage="prod")


@pytest.mark.parametrize("server_id", ["web-\u00fc", "\u30b5\u30fc\u30d0\u30fc", "a\nb\tc", "x" * 256, "\U0001f525"])
def test_sns_takes_the_subject_whatever_a_server_is_called(server_id: str):
    """SNS refuses anything else for good, and the page would wait in the outbox for ever."""
    subject = alert_text.subject(alert(server_id=server_id))

    assert subject.isascii()
    assert subject.isprintable()
    assert len(subject) <= alert_text.MAX_SUBJECT_CHARACTERS
    assert subject.startswith("P1 opened: ")
