"""Handles on what runs inside the launcher: faults, the model host, the PagerDuty receiver, functions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Admin = Callable[..., dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SageMakerControl:
    """Fault injection of the model host; an endpoint's own states change through its API."""

    admin: Admin

    def fault(
        self,
        endpoint: str,
        mode: str,
        *,
        variant: str | None = None,
        count: int | None = None,
        delay_s: float = 0.0,
        offset: float = 0.0,
    ) -> None:
        """Make invocations of `endpoint` misbehave.

        Modes: "down" (ServiceUnavailable), "throttled" (ThrottlingException), "failing" (ModelError: the container
        answered 500), "slow" (answers after `delay_s`), "garbled" (an answer off the contract), "biased" (every score
        `offset` higher; `count` has no effect). `variant` None means every one, `count` None until cleared.
        """
        fault = {"endpoint": endpoint, "mode": mode, "variant": variant, "count": count}
        self.admin("POST", "sagemaker/faults", {**fault, "delay_s": delay_s, "offset": offset})

    def clear(self, endpoint: str | None = None) -> None:
        """Take back the faults of one endpoint, or of all."""
        self.admin("POST", "sagemaker/clear", {"endpoint": endpoint})

    def delays(self, **seconds: float) -> None:
        """Set how long states last: training_s, creating_s, updating_s, deleting_s."""
        self.admin("POST", "sagemaker/delays", seconds)

    def status(self) -> dict[str, Any]:
        """Invocations per endpoint and variant, and the faults in force."""
        return self.admin("GET", "sagemaker")


@dataclass(frozen=True, slots=True)
class PagerDutyReceiver:
    """What arrived at the stand-in for PagerDuty's Events API v2, and how it shall answer."""

    admin: Admin
    endpoint_url: str

    @property
    def url(self) -> str:
        """The enqueue URL to configure in place of https://events.pagerduty.com/v2/enqueue."""
        return f"{self.endpoint_url}/_treeline/pagerduty/v2/enqueue"

    def received(self) -> list[dict[str, Any]]:
        """Every request in order of arrival: {"at", "status", "event", "errors"}."""
        events: list[dict[str, Any]] = self.admin("GET", "pagerduty/events")["events"]
        return events

    def changes(self) -> list[dict[str, Any]]:
        """Change events accepted, in order of arrival: {"at", "event"}."""
        changes: list[dict[str, Any]] = self.admin("GET", "pagerduty/events")["changes"]
        return changes

    def incidents(self) -> dict[str, dict[str, Any]]:
        """By dedup key: {"state": triggered|acknowledged|resolved, "severity", "summary", "triggers"}."""
        incidents: dict[str, dict[str, Any]] = self.admin("GET", "pagerduty/events")["incidents"]
        return incidents

    def fail(self, status: int, count: int) -> None:
        """Answer the next `count` requests with `status` (400, 429 or 5xx) and accept none of them."""
        self.admin("POST", "pagerduty/faults", {"status": status, "count": count})

    def clear(self) -> None:
        """Forget everything received and every fault."""
        self.admin("POST", "pagerduty/clear", {})


@dataclass(frozen=True, slots=True)
class Faults:
    """Make any emulated AWS call fail, as the service itself would."""

    admin: Admin

    def add(self, service: str, action: str, error: str, *, count: int | None = None, status: int = 400) -> None:
        """Refuse the next `count` calls (all until cleared when None) with an error code and HTTP status.

        `service` is the signing name, such as "dynamodb"; `action` the API's name, such as "PutItem", or "*".
        """
        fault = {"service": service, "action": action, "error": error, "count": count, "status": status}
        self.admin("POST", "faults", fault)

    def clear(self) -> int:
        """Take all back; returns how many calls had been refused."""
        return int(self.admin("POST", "faults/clear", {})["refused"])


@dataclass(frozen=True, slots=True)
class LambdaControl:
    """The functions' execution environments."""

    admin: Admin

    def kill(self, function: str, *, when_busy: bool = True) -> int:
        """SIGKILL the environments of a function (only those in an invocation when `when_busy`); how many."""
        return int(self.admin("POST", "functions/kill", {"function": function, "when_busy": when_busy})["killed"])
