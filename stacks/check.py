"""Is a stage fit to deploy? `python -m stacks.check STAGE` synthesizes it and holds it against other people's rules."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from stacks.config import stage as config
from stacks.constructs.function_asset import ROOT
from stacks.synthesize import synthesize
from treeline.core.errors import TreelineError

# W3005: CDK makes a function wait for its role and its policy by DependsOn, beside the reference to the role.
IGNORED_BY_CFN_LINT = ("W3005",)


def lint(templates: list[Path], region: str) -> tuple[bool, str]:
    """Whether cfn-lint finds nothing, and what it said."""
    command = Path(sys.executable).parent / "cfn-lint"
    result = subprocess.run(  # noqa: S603 -- a tool of our own environment
        [str(command), "--regions", region, "--ignore-checks", *IGNORED_BY_CFN_LINT, "--", *map(str, templates)],
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode == 0, result.stdout + result.stderr


def _violations(folder: Path) -> list[str]:
    """What the rules found, where that is why there is no assembly."""
    report = folder / "validation-report.json"
    if not report.is_file():
        return []
    plugins = json.loads(report.read_text(encoding="utf-8"))["pluginReports"]
    return [
        f"{violation['ruleName']}: {violation['description']} At {construct['constructPath']}."
        for plugin in plugins
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    ]


def main(arguments: list[str]) -> int:
    """Say what was checked and where the templates are; 1 for a finding, 2 for a stage there is not."""
    stage = arguments[0] if arguments else "dev"
    folder = ROOT / "build" / "stages" / stage
    shutil.rmtree(folder, ignore_errors=True)
    try:
        settings = config.load(stage)
        print(f"Stage {stage} in {settings.region}: config/{stage}.yaml can be read.", flush=True)
        assembly = synthesize(folder, stage, validate=True)
    except TreelineError as error:
        print(f"treeline: {error}", file=sys.stderr)
        print("\n".join(_violations(folder)), file=sys.stderr)
        return 2
    print("Synthesized without an account; cdk-nag (AwsSolutions, Serverless) and the CDK's rules find nothing new.")
    templates = [assembly / f"Treeline-{stage}-{part}.template.json" for part in settings.parts]
    is_clean, said = lint(templates, settings.region)
    print("cfn-lint finds nothing." if is_clean else said)
    print(f"{len(templates)} stacks: {assembly.relative_to(ROOT)}")
    return 0 if is_clean else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
