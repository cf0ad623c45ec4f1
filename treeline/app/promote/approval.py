"""An approved package starts one execution of the promotion workflow, however often the approval arrives."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from treeline.app.promote.protocol import WaitTimes

_NAME_CHARACTERS = 80  # Step Functions' limit


class Workflow(Protocol):
    """The promotion state machine."""

    def start(self, name: str, request: Mapping[str, Any]) -> str | None:
        """Start an execution of this name; None where there has been one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """What came of an approval: the execution's ARN, None where one had been started before."""

    name: str
    execution: str | None


def execution_name(package_arn: str, attempt: int = 1) -> str:
    """One name a package and attempt: Step Functions starts an execution of a name once in 90 days."""
    tail = re.sub(r"[^A-Za-z0-9]+", "-", package_arn.rpartition(":")[2]).strip("-")
    digest = hashlib.sha256(package_arn.encode()).hexdigest()[:8]
    suffix = f"-{digest}-{attempt}"
    return tail[-(_NAME_CHARACTERS - len(suffix)) :].lstrip("-") + suffix


def approved_arn(event: Mapping[str, Any]) -> str | None:
    """The package that an event of the registry approves; None for any other change."""
    detail = event.get("detail") or {}
    if detail.get("ModelApprovalStatus") != "Approved":
        return None
    arn = detail.get("ModelPackageArn")
    return str(arn) if arn else None


def request_for(pace: WaitTimes, **request: Any) -> dict[str, Any]:
    """An execution's input: what to promote and how often to look."""
    return {"request": {key: value for key, value in request.items() if value is not None}, **asdict(pace)}


def promote_approved(event: Mapping[str, Any], workflow: Workflow, pace: WaitTimes) -> Approved | None:
    """Start the promotion of what an event approves; None where it approves nothing."""
    arn = approved_arn(event)
    if arn is None:
        return None
    name = execution_name(arn)
    return Approved(name=name, execution=workflow.start(name, request_for(pace, package_arn=arn)))
