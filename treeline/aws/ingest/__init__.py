"""Kinesis, the observations table, the servers table, quarantine."""
