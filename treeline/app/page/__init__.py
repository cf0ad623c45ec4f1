"""Pages: each alert once and in order to a service that wakes people."""
