"""The report of a replay: one self-contained page, and one picture for the README."""
