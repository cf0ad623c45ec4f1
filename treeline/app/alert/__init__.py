"""What an alert says, and which alerts mutes, maintenance windows and shadow stages suppress."""
