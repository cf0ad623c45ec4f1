"""Adapters to AWS services, in the same rooms as the use cases that need them."""
