"""The one HTTP port on loopback, and the environment that points an SDK at it."""
