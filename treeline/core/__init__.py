"""Pure mathematics and vocabulary on numpy arrays: no cloud, no clock, no chance."""
