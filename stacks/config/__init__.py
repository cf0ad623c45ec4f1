"""`config/<stage>.yaml` as typed settings."""
