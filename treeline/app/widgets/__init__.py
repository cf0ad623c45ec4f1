"""What the dashboards' custom widgets show, as HTML."""
