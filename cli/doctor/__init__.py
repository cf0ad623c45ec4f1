"""`treeline doctor`."""
