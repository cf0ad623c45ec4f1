"""Pictures and pages of a replay that need no network."""
