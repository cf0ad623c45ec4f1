"""Offline: from history files to a model package, and how good it is."""
