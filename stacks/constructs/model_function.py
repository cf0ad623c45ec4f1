"""A function that reads what models decided: the tables, the packages, and the topic of model changes."""

from collections.abc import Sequence

from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.config.stage import StageConfig
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.stage_stack import stage_of
from stacks.constructs.stores import STATE_INDEX, Stores, resource_names
from treeline.settings.environment import EnvSettings
from treeline.settings.promotion import ChangeSettings, ModelTablesSettings


class ModelFunction(PythonFunction):
    """A PythonFunction with the tables' names in its environment, and leave to read which model decides."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        description: str,
        state: Stores,
        settings: Sequence[EnvSettings] = (),
    ) -> None:
        config = stage_of(scope).config
        tables = ModelTablesSettings.of(config, stage=config.deployment, **resource_names(state))
        super().__init__(
            scope, id_, name=name, description=description, settings=[tables, *settings], packages=["numpy"]
        )
        self.allow(["dynamodb:GetItem", "dynamodb:Query"], [state.controls.table_arn])
        self.allow(["s3:GetObject"], [state.models.arn_for_objects("packages/*")])

    def allow_history(self, state: Stores) -> None:
        """Leave to read what was decided of which servers: scores, incidents, detector state."""
        self.allow(["dynamodb:GetItem"], [state.servers.table_arn, state.detector_state.table_arn])
        # A group's state is a head and a log.
        self.allow(["dynamodb:Query"], [state.detector_state.table_arn])
        self.allow(["dynamodb:Query"], [state.scores.table_arn, f"{state.incidents.table_arn}/index/{STATE_INDEX}"])


def change_settings(
    config: StageConfig, topic: sns.ITopic, routing_key: secretsmanager.ISecret | None
) -> ChangeSettings:
    """A function's settings for announcing changes to the models."""
    events_url = config.pagerduty.events_url
    return ChangeSettings(
        changes_topic_arn=topic.topic_arn,
        routing_key_secret_arn="" if routing_key is None else routing_key.secret_arn,
        changes_url=events_url.replace("/v2/enqueue", "/v2/change/enqueue"),
    )


def allow_telling(function: PythonFunction, topic: sns.ITopic, routing_key: secretsmanager.ISecret | None) -> None:
    """Leave to publish on the topic of changes, and to read PagerDuty's key."""
    function.allow(["sns:Publish"], [topic.topic_arn])
    if routing_key is not None:
        function.allow(["secretsmanager:GetSecretValue"], [routing_key.secret_arn])
