"""Permissions proven: what roles allow is what was called (tests/deployed records it), no less and no more.

`make permissions` records anew; tests/deployed/test_recorded_calls.py fails when it is not what the code does.
"""

import pytest

from tests.infra.acknowledged_permissions import ACKNOWLEDGED, NOT_RUN, VARYING
from tests.infra.permissions import Templates, Use, covers, never_used, not_allowed, read_recording
from tests.infra.templates import Stage


@pytest.fixture(scope="session")
def templates(stage: Stage) -> Templates:
    return Templates(stage)


@pytest.fixture(scope="session")
def calls(templates: Templates) -> set[Use]:
    """What handlers called, and what AWS calls in their name."""
    recorded = read_recording()
    return recorded | templates.implied() | templates.keys_of(recorded)


def test_no_call_is_refused(templates: Templates, calls: set[Use]):
    assert not_allowed(templates.allowed(), calls) == set()


def test_nothing_is_allowed_that_nobody_calls(templates: Templates, calls: set[Use]):
    unused = never_used(templates.allowed(), calls)

    unexplained = {use for use in unused - set(ACKNOWLEDGED) if use.caller not in NOT_RUN}
    assert unexplained == set(), "remove the permission, call it in tests/deployed, or say why it stays"


def test_every_acknowledgement_is_needed_and_says_why(templates: Templates, calls: set[Use]):
    unused = never_used(templates.allowed(), calls)

    assert set(ACKNOWLEDGED) - unused == set(), "called after all, or not allowed any more"
    assert [use for use, reason in ACKNOWLEDGED.items() if len(reason) < 40] == []


def test_what_varies_from_run_to_run_is_a_recorded_call_and_says_why():
    assert set(VARYING) - read_recording() == set()
    assert [use for use, reason in VARYING.items() if len(reason) < 40] == []


def test_every_caller_of_the_recording_stands_in_the_templates(templates: Templates):
    assert {call.caller for call in read_recording()} <= set(templates.callers())


def test_every_function_was_run_when_calls_were_recorded(templates: Templates):
    """A function that no test runs would be proven by an empty list."""
    functions = {caller for caller in templates.callers() if caller.endswith("Function")}

    assert functions - {call.caller for call in read_recording()} == set(NOT_RUN), (
        "run it in tests/deployed, or say why not"
    )


def test_the_proof_fails_when_any_one_permission_is_taken_away(templates: Templates, calls: set[Use]):
    """The test of the test: each permission that is used is missed."""
    allowed = templates.allowed()
    used = allowed - never_used(allowed, calls)

    for one in used:
        others = [other for other in allowed - {one} if any(covers(other, c) for c in calls if covers(one, c))]
        assert others or not_allowed(allowed - {one}, calls), one
    assert len(used) > 30


def test_the_proof_fails_when_a_permission_is_added(templates: Templates, calls: set[Use]):
    extra = Use("detection/DetectFunction", "dynamodb:DeleteTable", "state/Observations")

    assert never_used(templates.allowed() | {extra}, calls) - never_used(templates.allowed(), calls) == {extra}


def test_the_proof_fails_when_a_handler_calls_something_new(templates: Templates, calls: set[Use]):
    new = Use("detection/DetectFunction", "dynamodb:Scan", "state/Observations")

    assert not_allowed(templates.allowed(), calls | {new}) == {new}


def test_a_permission_on_one_folder_of_a_bucket_does_not_cover_another():
    allowed = Use("a/F", "s3:PutObject", "state/Quarantine/quarantine/*")

    assert covers(allowed, Use("a/F", "s3:PutObject", "state/Quarantine/quarantine/*"))
    assert not covers(allowed, Use("a/F", "s3:PutObject", "state/Quarantine/other/*"))
    assert not covers(allowed, Use("b/F", "s3:PutObject", "state/Quarantine/quarantine/*"))


def test_no_role_allows_a_wildcard_action(templates: Templates):
    assert [use for use in templates.allowed() if "*" in use.action] == []
