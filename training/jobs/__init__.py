"""The entry points of the training container."""
