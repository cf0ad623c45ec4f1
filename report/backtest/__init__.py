"""What a backtest showed, for JSON and for the report."""
