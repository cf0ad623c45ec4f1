"""What is changed in the script that a Lambda worker process runs."""

from emulator.permissions.calls import WORKER_HOOK

RAISED = "_treeline_handler_raised"  # marks the result of a handler that raised

# A worker must not outlive the launcher, not even in the middle of a long invocation.
_WORKER_WATCH = """
def _treeline_end_with_parent():
    import os, threading, time
    parent = os.getppid()
    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(0)
    threading.Thread(target=watch, daemon=True).start()

_treeline_end_with_parent()
"""

# ministack ends a worker whose handler raised; Lambda keeps it. The worker says "ok" with a marked result instead.
HANDLER_RAISED = '{"status": "error", "error": str(e), "trace": traceback.format_exc()}'
_HANDLER_RAISED_KEPT = (
    '{"status": "ok", "result": {"' + RAISED + '": '
    '{"errorMessage": str(e), "errorType": type(e).__name__, '
    '"stackTrace": traceback.print_exc() or traceback.format_exc().splitlines()}}}'
)


def amended(original: str) -> str:
    """ministack's Python worker, ending with the launcher and surviving a handler that raises."""
    if HANDLER_RAISED not in original:
        raise RuntimeError("ministack's worker script has changed; see emulator/delivery/worker_script.py")
    return _WORKER_WATCH + WORKER_HOOK + original.replace(HANDLER_RAISED, _HANDLER_RAISED_KEPT)
