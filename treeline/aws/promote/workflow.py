"""The promotion state machine seen through Step Functions."""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from treeline.aws.retries import error_code


class PromotionWorkflow:
    """Starts executions of one state machine."""

    def __init__(self, states: Any, state_machine_arn: str) -> None:
        self._states = states
        self._state_machine_arn = state_machine_arn

    def start(self, name: str, request: Mapping[str, Any]) -> str | None:
        """Start an execution of this name; None where there has been one."""
        try:
            answer = self._states.start_execution(
                stateMachineArn=self._state_machine_arn, name=name, input=json.dumps(request)
            )
        except ClientError as error:
            if error_code(error) == "ExecutionAlreadyExists":
                return None
            raise
        return str(answer["executionArn"])
