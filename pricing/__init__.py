"""The arithmetic of the bill: a fleet's load, and its price line by line."""
