"""What is normal for a server now: the expected value and band of each metric."""
