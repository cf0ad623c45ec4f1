"""What an alert says, and which alerts are suppressed by mutes, maintenance windows and shadow stages."""
