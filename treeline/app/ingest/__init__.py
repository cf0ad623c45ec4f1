"""From raw records to stored observations."""
