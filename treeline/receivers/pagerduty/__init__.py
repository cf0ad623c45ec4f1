"""PagerDuty: events, change events, and the client that sends them."""
