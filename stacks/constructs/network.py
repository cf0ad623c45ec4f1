"""What functions need in a VPC that somebody else owns: a security group, and endpoints of the services they call."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from stacks.config.security import NetworkConfig

GATEWAYS = ("dynamodb", "s3")
# Not among them: what AWS does outside of the functions (reading stream and queues, logs, starting targets).
INTERFACES = ("sagemaker.api", "secretsmanager", "sns", "sqs", "states")
OF_MODEL_ENDPOINTS = ("application-autoscaling", "sagemaker.runtime")  # where a profile's scorer is not embedded
HTTPS = 443
# What a function in a VPC needs of EC2 (AWS: AWSLambdaVPCAccessExecutionRole); Lambda itself uses it.
INTERFACE_ACTIONS = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)


class Network(Construct):
    """A security group that lets nothing in and HTTPS out, and the endpoints."""

    def __init__(
        self, scope: Construct, id_: str, *, config: NetworkConfig, region: str, stage: str, has_model_endpoints: bool
    ) -> None:
        super().__init__(scope, id_)
        functions = ec2.CfnSecurityGroup(
            self,
            "Functions",
            group_description=f"Treeline {stage}: functions",
            vpc_id=config.vpc_id,
            security_group_egress=[_https(cidr_ip="0.0.0.0/0", description="AWS and PagerDuty over TLS")],
        )
        self.security_group_id = functions.attr_group_id
        if not config.endpoints:
            return
        for service in GATEWAYS:
            ec2.CfnVPCEndpoint(
                self,
                service.title(),
                vpc_id=config.vpc_id,
                service_name=f"com.amazonaws.{region}.{service}",
                vpc_endpoint_type="Gateway",
                route_table_ids=list(config.route_table_ids),
            )
        ends = ec2.CfnSecurityGroup(
            self,
            "Endpoints",
            group_description=f"Treeline {stage}: endpoints of AWS services",
            vpc_id=config.vpc_id,
            security_group_ingress=[
                {**_https(description="Functions"), "sourceSecurityGroupId": self.security_group_id}
            ],
        )
        for service in (*INTERFACES, *(OF_MODEL_ENDPOINTS if has_model_endpoints else ())):
            ec2.CfnVPCEndpoint(
                self,
                "".join(part.title() for part in service.replace(".", "-").split("-")),
                vpc_id=config.vpc_id,
                service_name=f"com.amazonaws.{region}.{service}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=list(config.subnet_ids),
                security_group_ids=[ends.attr_group_id],
            )


def vpc_settings(subnet_ids: Sequence[str], security_group_id: str) -> lambda_.CfnFunction.VpcConfigProperty:
    """A function's place in the VPC."""
    return lambda_.CfnFunction.VpcConfigProperty(subnet_ids=list(subnet_ids), security_group_ids=[security_group_id])


def _https(**more: str) -> dict[str, Any]:
    names = {"cidr_ip": "cidrIp", "description": "description"}
    return {"ipProtocol": "tcp", "fromPort": HTTPS, "toPort": HTTPS, **{names[k]: v for k, v in more.items()}}
