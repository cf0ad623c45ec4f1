"""`python -m treeline` is the `treeline` command."""

from cli.main import main

main()
