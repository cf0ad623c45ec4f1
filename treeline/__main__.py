"""The `treeline` command, also as `python -m treeline`."""

import sys
from pathlib import Path

WRONG_USE = 2


def main() -> None:
    """Run the command where the repository is; in an installation of the wheel alone, say where it comes from."""
    # By the file, not by trying: a program that installed our wheel may have a package `cli` of its own.
    if not (Path(__file__).resolve().parents[1] / "cli" / "main.py").is_file():
        print("treeline: this is the library; the command comes with the repository (make demo there)", file=sys.stderr)
        sys.exit(WRONG_USE)
    from cli.main import main as run

    run()


if __name__ == "__main__":
    main()
