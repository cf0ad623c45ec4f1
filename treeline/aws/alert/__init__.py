"""The alert topic, and the controls that people set."""
