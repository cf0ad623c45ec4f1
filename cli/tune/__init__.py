"""`treeline tune`."""
