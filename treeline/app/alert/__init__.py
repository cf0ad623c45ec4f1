"""What people are told of an incident, and who is not told for now."""
