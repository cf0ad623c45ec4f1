"""One round of detection: features, calibration, policy; and how servers and metrics warm up."""
