"""Event source mappings and function workers, with AWS's retry semantics."""
