"""Use cases, a room for each thing Treeline does for its users; each names the ports it needs."""
