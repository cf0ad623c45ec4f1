"""Bring up the embedded cloud with the stage's own templates in it."""

import json
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.deployment.deploy import DeployReport
from emulator.launcher import EmbeddedCloud
from stacks.config.sections import DetectionConfig
from stacks.config.stage import load, merged
from stacks.synthesize import synthesize
from treeline.core.profile import Metric, to_json
from treeline.settings import outputs

STAGE = "local"
ROUTING_KEY = "0" * 32  # of the right form; the receiver on loopback accepts any


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployed stage: the cloud it runs in, and where everything is."""

    cloud: EmbeddedCloud
    report: DeployReport
    profile: str = ""  # the further profile that is meant; empty: the servers'

    def output(self, key: str) -> str:
        """A stack output by its name in treeline.settings.outputs; raises KeyError where no stack has it."""
        return self._outputs[key]

    @property
    def endpoint_name(self) -> str:
        """Of the endpoint that detect asks; empty where the scorer is embedded."""
        return self._outputs.get(outputs.ENDPOINT_NAME, "")

    @property
    def _outputs(self) -> Mapping[str, str]:
        names = [outputs.stack_name(STAGE, part, self.profile) for part in outputs.OF_PROFILE]
        names.append(outputs.stack_name(STAGE, outputs.ALERTING))
        return ChainMap(*(self.report.outputs.get(name, {}) for name in names))

    def client(self, service: str) -> Any:
        """A boto3 client of the embedded cloud."""
        return self.cloud.client(service)


def settings(metrics: tuple[Metric, ...], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What a run needs differently from config/local.yaml."""
    needed = {
        "metrics": json.loads(to_json(metrics)),
        # One shard keeps records in the order they were sent, so that servers get the same numbers every time.
        "stream": {"shards": 1},
    }
    return merged(needed, overrides)


def detection(metrics: tuple[Metric, ...], overrides: Mapping[str, Any]) -> DetectionConfig:
    """How the local stage decides in such a run: what its templates are made from, for what runs beside them."""
    return load(STAGE, settings(metrics, overrides)).detection


def deploy(cloud: EmbeddedCloud, assembly: Path) -> Deployment:
    """Deploy a synthesized assembly and put the PagerDuty key in, as its owner would."""
    deployment = Deployment(cloud, cloud.deploy(assembly))
    deployment.client("secretsmanager").put_secret_value(
        SecretId=deployment.output(outputs.ROUTING_KEY_SECRET_ARN), SecretString=ROUTING_KEY
    )
    return deployment


def build(directory: Path, metrics: tuple[Metric, ...], events_url: str, overrides: Mapping[str, Any]) -> Path:
    """Synthesize the local stage for a metric set; the functions' packages come from this environment."""
    paged = merged(settings(metrics, overrides), {"pagerduty": {"enabled": True, "events_url": events_url}})
    return synthesize(directory, STAGE, asset_platform="host", overrides=paged)
