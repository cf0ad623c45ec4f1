"""The topic that says what happens to the models."""

from collections.abc import Sequence

from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct


class ChangesTopic(sns.Topic):
    """Steps of promotions, and drift; JSON with `event`, `summary` and details, for people and for scripts."""

    def __init__(self, scope: Construct, id_: str, *, stage: str, emails: Sequence[str]) -> None:
        super().__init__(scope, id_, display_name=f"Treeline model changes ({stage})", enforce_ssl=True)
        resource = self.node.default_child
        assert isinstance(resource, sns.CfnTopic)  # noqa: S101 -- narrows what CDK types too widely
        # AWS's own key for SNS: publishers in this account need no grant for it, and it costs nothing.
        resource.kms_master_key_id = "alias/aws/sns"
        for address in emails:
            self.add_subscription(subscriptions.EmailSubscription(address))
