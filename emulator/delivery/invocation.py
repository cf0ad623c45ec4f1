"""Invoke a function from inside the launcher, as an event source mapping's poller does."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import lambda_svc


@dataclass(frozen=True, slots=True)
class Invocation:
    """What came of it; `function_error` is None when the handler returned."""

    body: object
    function_error: str | None
    throttled: bool


@dataclass(frozen=True, slots=True)
class SourceMapping:
    """An event source mapping in force, with the account and region it belongs to."""

    account: str
    region: str
    settings: dict[str, Any]

    @property
    def uuid(self) -> str:
        """The mapping's id."""
        return str(self.settings["UUID"])

    @property
    def source_arn(self) -> str:
        """What it reads."""
        return str(self.settings.get("EventSourceArn", ""))

    @property
    def function_name(self) -> str:
        """Plain function name."""
        return str(self.settings["FunctionName"])

    @property
    def is_enabled(self) -> bool:
        """Whether it still exists and delivers."""
        return str(self.settings.get("Enabled", True)).lower() != "false"

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Act as the mapping's account in its region."""
        with request_scope(self.account, self.region):
            yield

    def invoke(self, event: Mapping[str, Any]) -> Invocation:
        """Invoke the function and wait for it."""
        with self.scope():
            record, _ = lambda_svc._get_func_record_for_qualifier(self.function_name, self.settings.get("Qualifier"))
            if record is None:
                return Invocation(None, "ResourceNotFoundException", False)
            result = lambda_svc._execute_function(record, event)
        body = result.get("body")
        if result.get("throttle"):
            return Invocation(body, "TooManyRequestsException", True)
        if result.get("error"):
            kind = body.get("errorType") if isinstance(body, dict) else None
            return Invocation(body, str(kind or "Unhandled"), False)
        return Invocation(body, None, False)

    def filtered(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The records that pass the mapping's filter criteria."""
        if not self.settings.get("FilterCriteria"):
            return records
        passed: list[dict[str, Any]] = lambda_svc._apply_filter_criteria(records, self.settings)
        return passed


def mappings(service: str) -> Iterator[SourceMapping]:
    """Every enabled mapping whose source is of `service` (kinesis, sqs)."""
    for account, region, settings in lambda_svc._iter_all_esms():
        mapping = SourceMapping(account, region, settings)
        if mapping.is_enabled and mapping.source_arn.split(":")[2:3] == [service]:
            yield mapping
