"""A check and what comes of it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from botocore.exceptions import BotoCoreError, ClientError


class CheckState(StrEnum):
    """What a check found."""

    OK = "ok"
    TODO = "todo"
    UNKNOWN = "unknown"  # it could not be asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One answer: what was looked at, what was found, and what to do where something is missing."""

    what: str
    state: CheckState
    found: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A question and how to answer it."""

    what: str
    ask: Callable[[], Finding]


def ok(what: str, found: str) -> Finding:
    """All is well."""
    return Finding(what=what, state=CheckState.OK, found=found)


def todo(what: str, found: str, do: str) -> Finding:
    """Something is missing."""
    return Finding(what=what, state=CheckState.TODO, found=found, do=do)


def examine(checks: Iterable[Check]) -> Iterator[Finding]:
    """Answer each; a refusal of AWS is an answer too, and never hides the other checks."""
    for check in checks:
        try:
            yield check.ask()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            yield Finding(
                what=check.what,
                state=CheckState.UNKNOWN,
                found=f"AWS answered {code}",
                do=f"look yourself, or allow {error.operation_name}",
            )
        except BotoCoreError as error:
            yield Finding(
                what=check.what, state=CheckState.UNKNOWN, found=str(error), do="check AWS_PROFILE and AWS_REGION"
            )
