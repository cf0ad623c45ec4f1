"""What an explanation is made from, read from the deployed tables."""
