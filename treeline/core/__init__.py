"""The mathematics and the vocabulary, on numpy arrays: no AWS, no clock, no random numbers."""
