"""What a trained model is made of, how one hands over to the next, and whether it still fits the fleet."""
