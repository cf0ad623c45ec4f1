"""A synthetic fleet: what servers of several roles normally do, and labelled incidents among it."""
