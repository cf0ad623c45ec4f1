"""The Events API v2 client. The routing key is in the request's body only: in no log, exception or repr."""

import json
import re
from typing import Any, Protocol

import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as Urllib3TimeoutError

from treeline.app.page.service import Delivery, PageFailure
from treeline.aws.client_types import SecretsManagerClient
from treeline.aws.retries import error_code
from treeline.core.alert import Alert
from treeline.receivers.pagerduty.event import EventAction, PagerDutyEvent, action_of, build_event, dedup_key_of

_DETAIL_CHARACTERS = 300
_HIDDEN = "[routing key]"
_KEY_FORM = re.compile(r"[0-9A-Za-z]{32}")  # what PagerDuty calls an integration key


class RoutingKey:
    """A secret that shows itself to `reveal` only."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return _HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RoutingKey) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def reveal(self) -> str:
        """The key itself, for the request."""
        return self._value

    def redact(self, text: str) -> str:
        """The text without the key, should a server repeat what it was sent."""
        return text.replace(self._value, _HIDDEN)


class RoutingKeySource(Protocol):
    """Where the routing key comes from."""

    def fetch(self) -> RoutingKey:
        """Read it anew; raises LookupError, which never holds what was read."""


class SecretsManagerRoutingKey:
    """The key as a secret: its text, or JSON with `routing_key`.

    A secret that is still empty, or holds a placeholder, is told apart before PagerDuty is asked: pages then wait.
    """

    def __init__(self, client: SecretsManagerClient, *, secret_arn: str) -> None:
        self._client = client
        self._secret_arn = secret_arn

    def fetch(self) -> RoutingKey:
        """Read the secret; see `RoutingKeySource`."""
        try:
            text = self._client.get_secret_value(SecretId=self._secret_arn)["SecretString"].strip()
        except ClientError as error:
            code = error_code(error)
            if code == "ResourceNotFoundException":  # also what a secret without a value answers
                raise LookupError("no routing key yet: the secret has no value, put the PagerDuty key in") from error
            raise LookupError(f"the routing key's secret cannot be read: {code}") from error
        except (BotoCoreError, KeyError) as error:
            raise LookupError(f"the routing key's secret cannot be read: {type(error).__name__}") from error
        if text.startswith("{"):
            try:
                text = json.loads(text)["routing_key"]
            except (ValueError, KeyError, TypeError):
                # Not chained: the parser's error shows the document, which is the secret.
                raise LookupError("the routing key's secret is JSON without a text routing_key") from None
        if not isinstance(text, str) or not text.strip():
            raise LookupError("no routing key yet: the secret is empty, put the PagerDuty key in")
        if not _KEY_FORM.fullmatch(text.strip()):
            raise LookupError(
                f"the secret holds no routing key: a key has 32 letters and digits, this text has {len(text.strip())} "
                "characters (a placeholder?)"
            )
        return RoutingKey(text.strip())


def failure_of(status: int) -> PageFailure | None:
    """What an HTTP status means for a page: None it is taken; 429 and 5xx are tried again, all else never."""
    if 200 <= status < 300:
        return None
    if status == 429:
        return PageFailure.RATE_LIMITED
    if status >= 500:
        return PageFailure.SERVER_ERROR
    if status in {401, 403}:
        return PageFailure.UNAUTHORIZED
    return PageFailure.REJECTED


def post(http: urllib3.PoolManager, url: str, body: dict[str, Any], *, timeout_s: float) -> "urllib3.BaseHTTPResponse":
    """Send JSON once, within `timeout_s` for connecting and the answer's first byte; raises urllib3's HTTPError."""
    return http.request(
        "POST",
        url,
        body=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        timeout=urllib3.Timeout(total=timeout_s),
        retries=False,
        redirect=False,
    )


class PagerDutyClient:
    """Triggers, acknowledges and resolves PagerDuty incidents.

    The key source is asked once, and again when PagerDuty does not take the key, as it may have been rotated.
    """

    def __init__(
        self, http: urllib3.PoolManager, *, events_url: str, key_source: RoutingKeySource, timeout_s: float
    ) -> None:
        self._http = http
        self._events_url = events_url
        self._key_source = key_source
        self._timeout_s = timeout_s
        self._key: RoutingKey | None = None

    def page(self, alert: Alert) -> Delivery | None:
        """Tell PagerDuty of an incident event; see `Pager`."""
        action = action_of(alert.event)
        if action is None:
            return None
        try:
            event = build_event(alert, action)
        except (TypeError, ValueError, AttributeError) as error:
            return Delivery(failure=PageFailure.MALFORMED_ALERT, detail=f"{type(error).__name__}: {error}")
        return self.send(event)

    def acknowledge(self, dedup_key: str) -> Delivery:
        """Mark the incident of a dedup key as being worked on."""
        action = EventAction.ACKNOWLEDGE.value
        return self.send(PagerDutyEvent(body={"event_action": action, "dedup_key": dedup_key_of(dedup_key)}))

    def send(self, event: PagerDutyEvent) -> Delivery:
        """Send one event; a key that is not taken is read anew once. Never raises for PagerDuty's sake."""
        try:
            key = self._key or self._key_source.fetch()
            self._key = key
            delivery = self._post(event, key)
            if delivery.failure is PageFailure.UNAUTHORIZED:
                self._key = self._key_source.fetch()
                if self._key != key:
                    delivery = self._post(event, self._key)
        except LookupError as error:
            return Delivery(failure=PageFailure.KEY_UNAVAILABLE, detail=str(error), cut=event.cut)
        return delivery

    def _post(self, event: PagerDutyEvent, key: RoutingKey) -> Delivery:
        body = {"routing_key": key.reveal(), **event.body}
        try:
            response = post(self._http, self._events_url, body, timeout_s=self._timeout_s)
        except HTTPError as error:
            # A refused connection counts as a kind of timeout to urllib3.
            waited = isinstance(error, Urllib3TimeoutError) and not isinstance(error, NewConnectionError)
            failure = PageFailure.TIMEOUT if waited else PageFailure.UNREACHABLE
            return Delivery(failure=failure, detail=type(error).__name__, cut=event.cut)
        answer = failure_of(response.status)
        text = key.redact(response.data[:4096].decode("utf-8", "replace"))
        if response.status == 400 and _names_routing_key(text):
            answer = PageFailure.UNAUTHORIZED
        return Delivery(
            failure=answer,
            status=response.status,
            detail="" if answer is None else text[:_DETAIL_CHARACTERS],
            retry_after_s=_seconds(response.headers.get("Retry-After")),
            cut=event.cut,
        )


def _names_routing_key(text: str) -> bool:
    """PagerDuty answers a key it does not know with 400 and `"errors": ["... routing_key ..."]`."""
    try:
        answer: Any = json.loads(text)
        errors = [str(answer.get("message", "")), *map(str, answer.get("errors", []))]
    except (ValueError, AttributeError, TypeError):
        return False
    return any("routing_key" in e or "routing key" in e.lower() for e in errors)


def _seconds(header: str | None) -> float | None:
    """Retry-After as seconds; its date form needs a clock, and our own backoff serves as well."""
    return float(header) if header is not None and header.isascii() and header.isdigit() else None
