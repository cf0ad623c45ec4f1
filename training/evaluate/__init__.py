"""How good a model's incidents are: backtest, judge, gate, thresholds from a budget."""
