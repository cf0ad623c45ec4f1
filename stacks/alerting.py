"""Alerting: the topics people subscribe to, and the way from an alert to PagerDuty."""

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from stacks.constructs.operations_alarm import OperationsAlarm, errors, queue_age_s, queue_depth
from stacks.constructs.own_metrics import own
from stacks.constructs.python_function import PythonFunction
from stacks.constructs.queue_consumer import QueueConsumer
from stacks.constructs.queues import DeadLetterQueue, WorkQueue
from stacks.constructs.topic_encryption import encrypt
from stacks.state import StateStack
from stacks.treeline_stack import StackOnState
from treeline.app.metrics import OwnMetric
from treeline.settings import outputs
from treeline.settings.pipeline import NotifyPagerDutySettings

# Each page is one HTTPS call; a few at a time keep one slow answer from holding many pages.
PAGES_BATCH_SIZE = 5
PAGES_CONCURRENCY = 2  # PagerDuty limits the events of one routing key


class AlertingStack(StackOnState):
    """`alerts` speaks of servers, `operations` of Treeline itself; the two have different readers."""

    def __init__(self, scope: Construct, *, state: StateStack) -> None:
        super().__init__(scope, outputs.ALERTING, holds="topics and PagerDuty", state=state)
        config = state.config
        self.alerts = sns.Topic(self, "Alerts", display_name=f"Treeline alerts ({config.stage})", enforce_ssl=True)
        encrypt(self.alerts)
        self.operations = self._operations_topic()
        self.routing_key: secretsmanager.Secret | None = None

        # Nobody wants a mail about an incident that is muted.
        told = {"event": sns.SubscriptionFilter.string_filter(denylist=["suppressed"])}
        for topic, addresses, wanted in (
            (self.alerts, config.notifications.alert_emails, told),
            (self.operations, config.notifications.operations_emails, None),
        ):
            for address in addresses:
                topic.add_subscription(subscriptions.EmailSubscription(address, filter_policy=wanted))

        self.tell(outputs.ALERTS_TOPIC_ARN, self.alerts.topic_arn, "SNS topic of incidents")
        self.tell(outputs.OPERATIONS_TOPIC_ARN, self.operations.topic_arn, "SNS topic of alarms on Treeline itself")
        OperationsAlarm(
            self,
            "AlertsNotDelivered",
            "Is there a subscriber that SNS cannot deliver alerts to?",
            self.alerts.metric_number_of_notifications_failed(period=cdk.Duration.minutes(1), statistic="Sum"),
        )
        if config.pagerduty.enabled:
            self._pagerduty(state.pages)

    def _operations_topic(self) -> sns.Topic:
        """CloudWatch may not use AWS's own key for SNS, so this topic has one that lets it."""
        key = self.protection.key or kms.Key(
            self,
            "OperationsKey",
            description=f"Treeline {self.config.stage}: topic of alarms",
            enable_key_rotation=True,
            removal_policy=cdk.RemovalPolicy.DESTROY,  # nothing is kept under it
        )
        key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],  # in a key's policy: this key
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        topic = sns.Topic(
            self,
            "Operations",
            display_name=f"Treeline operations ({self.config.stage})",
            enforce_ssl=True,
            master_key=key,
        )
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsOfThisAccount",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        return topic

    # long: declarations only; the queue, its function and their five alarms belong together
    def _pagerduty(self, ledger: dynamodb.ITableV2) -> None:
        config = self.config
        size = config.functions.notify_pagerduty
        dead = DeadLetterQueue(self, "PagesDead")
        undelivered = DeadLetterQueue(self, "PagesUndelivered")
        pages = WorkQueue(
            self,
            "Pages",
            visibility_s=config.visibility_s(size),
            dead_letters=dead,
            max_receive_count=config.pagerduty.max_receive_count,
        )
        self.alerts.add_subscription(
            subscriptions.SqsSubscription(pages, raw_message_delivery=True, dead_letter_queue=undelivered)
        )
        self.routing_key = secret = self._empty_secret()
        notify = PythonFunction(
            self,
            "NotifyPagerDuty",
            name="notify_pagerduty",
            description="Turns alerts into PagerDuty events",
            settings=[
                NotifyPagerDutySettings.of(
                    config.pagerduty,
                    stage=config.stage,
                    page_queue_url=pages.queue_url,
                    pages_table=ledger.table_name,
                    routing_key_secret_arn=secret.secret_arn,
                )
            ],
        )
        notify.allow(["secretsmanager:GetSecretValue"], [secret.secret_arn])
        notify.allow(["dynamodb:GetItem", "dynamodb:PutItem"], [ledger.table_arn])
        QueueConsumer(
            self,
            "PagesConsumer",
            queue=pages,
            consumer=notify,
            batch_size=PAGES_BATCH_SIZE,
            max_concurrency=PAGES_CONCURRENCY,
        )

        self.tell(outputs.PAGES_QUEUE_URL, pages.queue_url, "Alerts on their way to PagerDuty")
        self.tell(outputs.PAGES_DEAD_QUEUE_URL, dead.queue_url, "Pages that PagerDuty did not take")
        self.tell(outputs.PAGES_UNDELIVERED_QUEUE_URL, undelivered.queue_url, "Alerts that SNS could not queue")
        self.tell(outputs.NOTIFY_PAGERDUTY_FUNCTION, notify.function.function_name, "Function notify_pagerduty")
        self.tell(outputs.ROUTING_KEY_SECRET_ARN, secret.secret_arn, "Put the PagerDuty routing key here")

        OperationsAlarm(self, "PagesDeadNotEmpty", "Are there pages that PagerDuty did not take?", queue_depth(dead))
        OperationsAlarm(
            self,
            "PagesUndeliveredNotEmpty",
            "Are there alerts that never reached the queue of pages?",
            queue_depth(undelivered),
        )
        OperationsAlarm(
            self,
            "PagesRefused",
            "Did PagerDuty refuse a page for good?",
            own(OwnMetric.PagesRefused, stage=config.stage),
        )
        OperationsAlarm(
            self,
            "PagesWaiting",
            "Has a page been waiting for more than two minutes?",
            queue_age_s(pages),
            threshold=120,
            datapoints=2,
            periods=3,
        )
        OperationsAlarm(
            self,
            "NotifyPagerDutyErrors",
            "Does notify_pagerduty raise?",
            errors(notify.function),
            runbook="notify-pagerduty-errors",
            datapoints=2,
            periods=5,
        )

    def _empty_secret(self) -> secretsmanager.Secret:
        """A secret without a value: its owner puts the key in, so no generated one is ever used."""
        secret = secretsmanager.Secret(
            self,
            "RoutingKey",
            description=f"Treeline {self.config.stage}: PagerDuty Events API v2 routing key, put in by hand",
            encryption_key=self.protection.key,
            removal_policy=cdk.RemovalPolicy.DESTROY,  # PagerDuty shows the key again, or gives another
        )
        resource = secret.node.default_child
        assert isinstance(resource, secretsmanager.CfnSecret)  # noqa: S101 -- narrows what CDK types too widely
        resource.add_property_deletion_override("GenerateSecretString")
        return secret
