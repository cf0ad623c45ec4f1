"""`python -m treeline` is the `treeline` command."""

from treeline.cli.main import main

main()
