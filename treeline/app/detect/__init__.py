"""From stored observations to decisions: ticks, scoring, commits, and what died on the way."""
