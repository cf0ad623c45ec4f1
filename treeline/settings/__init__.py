"""What functions are told: typed environment variables, checked once."""
