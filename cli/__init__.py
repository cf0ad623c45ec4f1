"""The `treeline` command: one module a sub-command."""
