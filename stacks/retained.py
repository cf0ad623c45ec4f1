"""What stays when a stage is destroyed: `python -m stacks.retained STAGE`, which `make destroy` runs first."""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stacks.config import stage as config
from stacks.synthesize import synthesize
from treeline.core.errors import TreelineError

# Made at run time by the workflows and the pipeline, so no stack takes it away.
_ENDPOINTS = "SageMaker's endpoints ({}) with their configurations and models: delete-endpoint stops the price"
OUTSIDE_STACKS = (
    "log groups of SageMaker's jobs below /aws/sagemaker/",
    "backups and exports somebody made by hand; the CDK's bootstrap bucket",
)


def retained(template: Mapping[str, Any]) -> list[str]:
    """Logical ids and types of what CloudFormation leaves in place when the stack goes."""
    return [
        f"{id_} ({resource['Type']})"
        for id_, resource in template["Resources"].items()
        if resource.get("DeletionPolicy") in ("Retain", "RetainExceptOnCreate", "Snapshot")
    ]


def told(stage: str, templates: Mapping[str, Mapping[str, Any]]) -> str:
    """The text to read before destroying."""
    settings = config.load(stage)
    endpoints = ", ".join(filter(None, (profile.endpoint_name for profile in settings.all_profiles)))
    lines = [f"Destroying stage {stage}. What stays:"]
    for part, template in templates.items():
        lines += [f"  {part}: {what}" for what in retained(template)]
    outside = (*((_ENDPOINTS.format(endpoints),) if endpoints else ()), *OUTSIDE_STACKS)
    lines += [f"  outside the stacks: {what}" for what in outside]
    if settings.data.termination_protection:
        lines.append("The stack of state is protected: set data.termination_protection: false and deploy first.")
    elif not settings.data.retain:
        lines.append("Buckets must be empty: aws s3 rm s3://BUCKET --recursive (names: outputs of the stacks).")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Print it; 2 for a stage there is not."""
    stage = arguments[0] if arguments else "dev"
    try:
        with tempfile.TemporaryDirectory() as folder:
            assembly = synthesize(Path(folder), stage, asset_platform="host")
            templates = {
                part: json.loads((assembly / f"Treeline-{stage}-{part}.template.json").read_text(encoding="utf-8"))
                for part in config.load(stage).parts
            }
            print(told(stage, templates))
    except TreelineError as error:
        print(f"treeline: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
