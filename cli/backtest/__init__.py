"""`treeline backtest`."""
