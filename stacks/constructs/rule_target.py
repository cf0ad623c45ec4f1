"""A function as the target of an EventBridge rule; an event that it did not take is kept, not dropped."""

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_

from stacks.constructs.python_function import PythonFunction
from stacks.constructs.queues import DeadLetterQueue


def invoke(
    rule: events.Rule, function: PythonFunction, *, dead_letters: DeadLetterQueue, retry_attempts: int = 2
) -> None:
    """Have `rule` invoke `function`.

    Two queues in a row may drop an event: EventBridge's, when the function cannot be reached, and Lambda's own, when
    the function raised in every try. Both leave it in `dead_letters`.
    """
    rule.add_target(
        targets.LambdaFunction(function.function, retry_attempts=retry_attempts, dead_letter_queue=dead_letters)
    )
    function.allow(["sqs:SendMessage"], [dead_letters.queue_arn])
    lambda_.CfnEventInvokeConfig(  # the L2's destination would grant more than sending
        function,
        "Invoked",
        function_name=function.function.function_name,
        qualifier="$LATEST",
        maximum_retry_attempts=2,
        destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
            on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(destination=dead_letters.queue_arn)
        ),
    )
