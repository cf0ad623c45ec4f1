"""Other people's rules: cfn-lint and cdk-nag (AwsSolutions, Serverless), and every exception with its reason."""

import json
import os
import subprocess
import sys
from pathlib import Path

from stacks.check import lint
from stacks.config.stage import load
from stacks.constructs.function_asset import ROOT
from stacks.findings.stage import EVERYWHERE, acknowledged
from tests.infra.templates import Stage
from treeline.settings.outputs import PARTS


def test_cfn_lint_finds_nothing(stage: Stage):
    assert lint([stage.template_path(part) for part in PARTS], "us-east-1") == (True, "")


def test_cdk_nag_and_the_cdks_own_rules_find_nothing_that_is_not_explained(stage: Stage):
    report = json.loads((stage.folder / "validation-report.json").read_text(encoding="utf-8"))

    assert [plugin["violations"] for plugin in report["pluginReports"]] == []


def test_every_explanation_explains_something(tmp_path: Path):
    """Without the explanations cdk-nag reports exactly what they name: none is stale, and nag is at work."""
    context = {"stage": "prod", "asset_platform": "host", "nag": "all"}
    environment = {
        **os.environ,
        "CDK_OUTDIR": str(tmp_path),
        "CDK_CONTEXT_JSON": json.dumps(context),
        "CDK_VALIDATION": "false",
        "PYTHONPATH": str(ROOT),
    }
    result = subprocess.run(  # noqa: S603 -- our own interpreter
        [sys.executable, str(ROOT / "app.py")], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    report = json.loads((tmp_path / "validation-report.json").read_text(encoding="utf-8"))
    findings = {
        (violation["ruleName"], construct["constructPath"])
        for plugin in report["pluginReports"]
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    }
    explained = list(acknowledged(load("prod")))
    everywhere = {rule for rule, _ in findings} & set(EVERYWHERE)
    assert everywhere == set(EVERYWHERE)
    singly = {(rule, construct) for rule, construct in findings if rule not in everywhere}
    assert singly == {(finding.rule, finding.construct) for finding in explained}
    assert result.returncode != 0
    assert all(len(reason) > 40 for reason in (*EVERYWHERE.values(), *(finding.reason for finding in explained)))
