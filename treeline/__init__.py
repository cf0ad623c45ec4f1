"""Treeline: fleet-wide server anomaly detection inside its owner's AWS account."""

__version__ = "0.1.0"
