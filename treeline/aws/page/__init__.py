"""The queue of pages and the pages table."""
