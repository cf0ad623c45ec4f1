"""Replays of a fleet through the deployed templates on the embedded cloud."""
