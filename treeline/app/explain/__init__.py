"""Why an incident opened, what would have prevented it, and the proof by recomputing."""
