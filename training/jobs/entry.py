"""What the entry points of our container share: they say in one line why they failed, where SageMaker looks for it."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from treeline.core.errors import TreelineError

MESSAGE_VARIABLE = "TREELINE_EXIT_MESSAGE_FILE"
MESSAGE_FILE = "/opt/ml/output/message"  # its first KB becomes a processing job's ExitMessage
_LIMIT = 1024


def run(work: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> int:
    """Do the work; the exit code, after an error of ours has been written down as the job's message."""
    try:
        work(arguments)
    except TreelineError as error:
        print(f"error: {error}", file=sys.stderr)
        path = Path(os.environ.get(MESSAGE_VARIABLE, MESSAGE_FILE))
        if path.parent.is_dir():
            path.write_text(str(error)[:_LIMIT], encoding="utf-8")
        return 1
    return 0
