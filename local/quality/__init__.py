"""The release gate: fixed backtests at the shipped defaults, held against recorded figures."""
