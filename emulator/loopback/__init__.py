"""The one HTTP port on loopback, and clients and environments that talk to it and to no account."""
