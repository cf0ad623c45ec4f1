"""Services that are told of incidents: one folder a receiver."""
