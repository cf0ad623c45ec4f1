"""SQS queues as used here: encrypted, TLS only, and every working queue with a dead-letter queue."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.constructs.stage_stack import protection_of

# The longest SQS keeps a message: a dead letter waits for a person.
DEAD_LETTER_RETENTION = cdk.Duration.days(14)
WORK_RETENTION = cdk.Duration.days(4)


class DeadLetterQueue(sqs.Queue):
    """Where messages wait that could not be handled."""

    def __init__(self, scope: Construct, id_: str, *, visibility_s: int = 60) -> None:
        super().__init__(
            scope,
            id_,
            **_encryption(scope),
            enforce_ssl=True,
            retention_period=DEAD_LETTER_RETENTION,
            visibility_timeout=cdk.Duration.seconds(visibility_s),
        )


class WorkQueue(sqs.Queue):
    """A queue that a function works through."""

    def __init__(
        self, scope: Construct, id_: str, *, visibility_s: int, dead_letters: sqs.IQueue, max_receive_count: int
    ) -> None:
        super().__init__(
            scope,
            id_,
            **_encryption(scope),
            enforce_ssl=True,
            retention_period=WORK_RETENTION,
            visibility_timeout=cdk.Duration.seconds(visibility_s),
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=max_receive_count),
        )


def _encryption(scope: Construct) -> dict[str, Any]:
    """By SQS's keys, or by the stage's; a data key of that is used for an hour, as each use is paid."""
    key = protection_of(scope).key
    if key is None:
        return {"encryption": sqs.QueueEncryption.SQS_MANAGED}
    return {
        "encryption": sqs.QueueEncryption.KMS,
        "encryption_master_key": key,
        "data_key_reuse": cdk.Duration.hours(1),
    }
