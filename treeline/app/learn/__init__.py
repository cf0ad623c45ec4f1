"""From history and scores to the next model: roll-ups, drift, training runs, admission."""
