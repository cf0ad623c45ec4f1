"""What makes ministack's DynamoDB fast and small enough for a replay of hundreds of thousands of observations."""
