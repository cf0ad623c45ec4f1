"""What must be there before a deployment: tools, account, bootstrap, quotas."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from cli.doctor.checks import Check, CheckState, Finding, ok, todo
from stacks.config.stage import StageConfig

Clients = Callable[[str], Any]
NODE_VERSIONS = (20, 22, 24)  # of the CDK's command
BOOTSTRAP_VERSION = 6  # what the synthesizer asks for: assets and lookup by role
_BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
_CDK = "npx aws-cdk@2.1148.1"
_NOWHERE = "treeline.invalid"  # a domain that never exists (RFC 2606)
# Concurrent executions that Treeline may take at once, besides those that settings reserve.
_UNRESERVED = 100  # AWS keeps as many unreserved


def checks(stage: StageConfig, client: Clients, *, is_local: bool) -> Iterator[Check]:
    """The questions, cheapest first."""
    if not is_local:
        yield Check("node for the CDK's command", node)
        yield Check("account", lambda: account(client, stage))
    yield Check("CDK bootstrap", lambda: bootstrap(client, stage))
    if not is_local:
        yield Check("Lambda concurrency", lambda: concurrency(client, stage))
        yield Check("Kinesis shards", lambda: shards(client, stage))
        for kind in sorted({profile.promotion.instance_type for profile in _with_endpoint(stage)}):
            yield Check("SageMaker instances", partial(instances, client, stage, kind))
        yield Check("links of a page", lambda: page_links(stage))


def node(which: Callable[[str], str | None] = shutil.which) -> Finding:
    """The version on the PATH; the packaged one synthesizes, but has no npx."""
    path = which("node")
    if path is None:
        return todo("none on the PATH", f"install node {NODE_VERSIONS[-1]}; synthesis needs none, deploying does")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603
    major = int(re.sub(r"^v(\d+).*", r"\1", said) or 0) if said else 0
    if major not in NODE_VERSIONS:
        return todo(said or "unreadable", f"install one of node {', '.join(map(str, NODE_VERSIONS))}")
    return ok(said)


def account(client: Clients, stage: StageConfig) -> Finding:
    """Who deploys, and where to."""
    identity = client("sts").get_caller_identity()
    region = client("sts").meta.region_name
    found = f"{identity['Account']} as {identity['Arn'].rsplit(':', 1)[-1]}"
    if region != stage.region:
        do = f"set AWS_REGION={stage.region}, or region in config/{stage.stage}.yaml"
        return todo(f"{found}, but region {region}", do)
    return ok(f"{found} in {stage.region}")


def bootstrap(client: Clients, stage: StageConfig) -> Finding:
    """The version the CDK left in the account."""
    ssm = client("ssm")
    try:
        version = int(ssm.get_parameter(Name=_BOOTSTRAP_PARAMETER)["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        return todo("this account and region are not bootstrapped", f"{_CDK} bootstrap aws://ACCOUNT/{stage.region}")
    if version < BOOTSTRAP_VERSION:
        return todo(f"version {version}, needed {BOOTSTRAP_VERSION}", f"{_CDK} bootstrap")
    return ok(f"version {version}")


def page_links(stage: StageConfig) -> Finding:
    """Whether the links to runbook and dashboard in a page lead anywhere."""
    detection = stage.detection
    links = {"runbook_url": detection.runbook_url, "dashboard_url": detection.dashboard_url}
    nowhere = [f"detection.{name}" for name, url in links.items() if _NOWHERE in url]
    if nowhere:
        keys = " and ".join(nowhere)
        do = f"set {keys} in config/{stage.stage}.yaml to where docs/runbooks and the dashboard are read"
        return todo("as shipped, they lead nowhere", do)
    return ok(", ".join(links.values()))


def concurrency(client: Clients, stage: StageConfig) -> Finding:
    """Whether the account can give what settings reserve and detect may use."""
    limit = client("lambda").get_account_settings()["AccountLimit"]
    free = int(limit["UnreservedConcurrentExecutions"])
    reserved = sum(
        getattr(profile.functions, name).reserved_concurrency or 0
        for profile in stage.all_profiles
        for name in type(profile.functions).__dataclass_fields__
        if not (profile.further and name == "notify_pagerduty")  # all profiles share it
    )
    wanted = reserved + sum(
        profile.ticks.max_concurrency + profile.stream.shards * profile.stream.parallelization_factor
        for profile in stage.all_profiles
    )
    found = f"{free} unreserved, {wanted} wanted, {reserved} of them reserved"
    if reserved and free - reserved < _UNRESERVED:
        do = "raise the quota L-B99A9384, or set reserved_concurrency to null: AWS keeps 100 unreserved"
        return todo(found, do)
    if free < wanted:
        return todo(found, "raise the quota L-B99A9384 (Concurrent executions), or lower ticks.max_concurrency")
    return ok(found)


def shards(client: Clients, stage: StageConfig) -> Finding:
    """Whether the region has shards left."""
    limits = client("kinesis").describe_limits()
    free = limits["ShardLimit"] - limits["OpenShardCount"]
    wanted = sum(profile.stream.shards for profile in stage.all_profiles)
    found = f"{limits['OpenShardCount']} of {limits['ShardLimit']} open, {wanted} wanted"
    if free < wanted:
        return todo(found, "raise the quota of shards per region, or lower stream.shards")
    return ok(found)


def instances(client: Clients, stage: StageConfig, kind: str) -> Finding:
    """Whether an endpoint of this type may run: a new account starts with none of some types."""
    wanted = f"{kind} for endpoint usage"
    hosts = [profile.promotion for profile in _with_endpoint(stage) if profile.promotion.instance_type == kind]
    pages = client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    for page in pages:
        for quota in page["Quotas"]:
            if quota["QuotaName"] == wanted:
                # While a canary runs there are two variants.
                needed = 2 * sum(host.instances for host in hosts)
                found = f"{quota['Value']:.0f} x {kind}, {needed} wanted during a canary"
                if quota["Value"] < needed:
                    return todo(found, f"raise the quota {quota['QuotaCode']} ({wanted})")
                return ok(found)
    return Finding(CheckState.UNKNOWN, f"no quota named {wanted!r}", "look in Service Quotas")


def _with_endpoint(stage: StageConfig) -> list[StageConfig]:
    return [profile for profile in stage.all_profiles if not profile.is_embedded]
