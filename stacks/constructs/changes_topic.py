"""The topic that says what happens to the models."""

from collections.abc import Sequence

from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from stacks.constructs.topic_encryption import encrypt


class ChangesTopic(sns.Topic):
    """Steps of promotions, and drift; JSON with `event`, `summary` and details, for people and for scripts."""

    def __init__(self, scope: Construct, id_: str, *, stage: str, emails: Sequence[str]) -> None:
        super().__init__(scope, id_, display_name=f"Treeline model changes ({stage})", enforce_ssl=True)
        encrypt(self)
        for address in emails:
            self.add_subscription(subscriptions.EmailSubscription(address))
