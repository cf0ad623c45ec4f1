"""Pieces that the stacks are made of."""
