"""A console that does not cut lines when its output goes to a file."""

from rich.console import Console

_FILE_WIDTH = 200  # characters


def wide_console(*, stderr: bool = False) -> Console:
    """Standard output (or error); as wide as needed when it is a file or a pipe, which rich takes for 80 columns."""
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, width=_FILE_WIDTH, highlight=False)
