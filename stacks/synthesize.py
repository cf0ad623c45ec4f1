"""Synthesize a stage into a folder without the CDK's command, as `treeline demo` and the tests do."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from stacks.config import stage as config
from stacks.constructs.function_asset import ROOT, AssetPlatform
from treeline.core.errors import TreelineError


class SynthesisError(TreelineError):
    """The CDK app failed though its settings are right; the message ends with what it said."""


def synthesize(
    outdir: Path,
    stage: str,
    *,
    asset_platform: Literal["lambda", "host"] = "lambda",
    overrides: Mapping[str, Any] | None = None,
    validate: bool = False,
    root: Path = ROOT,
) -> Path:
    """Write the cloud assembly of `stage` to `outdir` (made if missing) and return it, absolute.

    The app runs in a process of its own, so node and the CDK are gone when this returns.

    Args:
        outdir: Folder for manifest.json, the templates and the functions' folders.
        stage: Name of a file in config/.
        asset_platform: "lambda" packs arm64 wheels, "host" leaves third-party packages to the interpreter.
        overrides: Merged over the stage's settings, as stacks.config.stage.load does.
        validate: Have the templates checked by the CDK's own rules and cdk-nag's. It takes as long as the
            synthesis, and the tests do it.
        root: The checkout to synthesize.

    Raises:
        SettingsError: No such stage, or a setting that cannot be.
        SynthesisError: Anything else that kept the app from ending well.
    """
    # A wrong setting is one clear line here, a stack trace over there.
    config.load(stage, overrides, folder=root / "config")
    platform = AssetPlatform.named(asset_platform)
    outdir = outdir.resolve()
    outdir.mkdir(parents=True, exist_ok=True)
    context: dict[str, Any] = {"stage": stage, "asset_platform": platform.value}
    context |= {"config_overrides": dict(overrides or {}), "nag": str(validate).lower()}
    environment = {
        **os.environ,
        "CDK_OUTDIR": str(outdir),
        "CDK_CONTEXT_JSON": json.dumps(context, sort_keys=True),
        "CDK_VALIDATION": "true" if validate else "false",
        "PYTHONPATH": str(root),
    }
    # Compiling the CDK, 300 modules of generated code, takes longer than the synthesis itself.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    result = subprocess.run(  # noqa: S603 -- our own interpreter and file, no shell
        [sys.executable, str(root / "app.py")], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        said = "\n".join((result.stderr or result.stdout).strip().splitlines()[-15:])
        raise SynthesisError(f"synthesis of {stage} failed:\n{said}")
    return outdir
