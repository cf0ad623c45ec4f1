"""Measures beside the forest's score, made from the metrics' own deviations."""
