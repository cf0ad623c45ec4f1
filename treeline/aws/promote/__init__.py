"""The endpoint's control plane, promotions, and a canary's evidence."""
