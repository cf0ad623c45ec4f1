"""Logs, metrics out of logs, and alarms."""
