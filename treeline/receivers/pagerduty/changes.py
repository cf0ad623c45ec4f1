"""PagerDuty change events: they page nobody, and stand on the time line beside incidents they may explain."""

from collections.abc import Mapping
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from treeline.core.times import iso
from treeline.receivers.pagerduty.client import RoutingKeySource, failure_of, post

_MAX_SUMMARY = 1024  # https://developer.pagerduty.com/docs/events-api-v2/send-change-events/
_TIMEOUT_S = 5.0


class PagerDutyChanges:
    """Sends change events, https://developer.pagerduty.com/docs/events-api-v2/send-change-events/."""

    def __init__(self, http: urllib3.PoolManager, *, changes_url: str, key_source: RoutingKeySource) -> None:
        self._http = http
        self._changes_url = changes_url
        self._key_source = key_source

    def send(self, summary: str, details: Mapping[str, Any], *, source: str, at_ms: int) -> str | None:
        """Send one; None, or why it was not taken."""
        try:
            key = self._key_source.fetch()
        except LookupError as error:
            return str(error)
        body = {
            "routing_key": key.reveal(),
            "payload": {
                "summary": summary[:_MAX_SUMMARY],
                "timestamp": iso(at_ms),
                "source": source,
                "custom_details": dict(details),
            },
        }
        try:
            response = post(self._http, self._changes_url, body, timeout_s=_TIMEOUT_S)
        except HTTPError as error:
            return type(error).__name__
        failure = failure_of(response.status)
        return (
            None if failure is None else f"{failure.value}: {key.redact(response.data[:300].decode(errors='replace'))}"
        )
