"""A dashboard: rows of widgets; its generated name is a stack output."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct


class RowsDashboard(Construct):
    """Rows of widgets over the last three hours."""

    def __init__(self, scope: Construct, id_: str, *, rows: Sequence[Sequence[cloudwatch.IWidget]]) -> None:
        super().__init__(scope, id_)
        self.dashboard = cloudwatch.Dashboard(
            self,
            "Dashboard",
            default_interval=cdk.Duration.hours(3),
            period_override=cloudwatch.PeriodOverride.INHERIT,
            widgets=[list(row) for row in rows],
        )

    @property
    def name(self) -> str:
        """The name CloudFormation gave it."""
        return self.dashboard.dashboard_name
