"""An incident's story read from the deployed tables."""
