"""Which AWS calls were made, and which permissions they need."""
