"""Detectors that others use, behind one interface, so that they can be measured in the same run as ours."""
