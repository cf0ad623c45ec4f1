"""Ticks' queues, the model endpoint, detector state, scores, incidents."""
