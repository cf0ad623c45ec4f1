"""What the dashboards' custom widgets read."""
