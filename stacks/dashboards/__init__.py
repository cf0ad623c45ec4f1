"""What stands on the four dashboards: fleet, detection health, model, cost and usage; one module each."""
