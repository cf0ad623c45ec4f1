"""History files: read, checked, put on one time axis, fetched from CloudWatch."""
