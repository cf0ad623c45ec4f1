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


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, and what to do where something is missing."""

    state: CheckState
    found: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A question and how to answer it."""

    what: str
    ask: Callable[[], Finding]


def ok(found: str) -> Finding:
    """All is well."""
    return Finding(CheckState.OK, found)


def todo(found: str, do: str) -> Finding:
    """Something is missing."""
    return Finding(CheckState.TODO, found, do)


def examine(checks: Iterable[Check]) -> Iterator[tuple[str, Finding]]:
    """Answer each, by what it looks at; a refusal of AWS is an answer too, and never hides the other checks."""
    for check in checks:
        try:
            yield check.what, check.ask()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            do = f"look yourself, or allow {error.operation_name}"
            yield check.what, Finding(CheckState.UNKNOWN, f"AWS answered {code}", do)
        except BotoCoreError as error:
            yield check.what, Finding(CheckState.UNKNOWN, str(error), "check AWS_PROFILE and AWS_REGION")
