"""What makes the emulator's DynamoDB fast enough for a replay."""
