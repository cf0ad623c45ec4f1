"""How many examples the property tests of the core try: few, the same every time, however slow the machine."""

from hypothesis import settings

FEW = settings(max_examples=30, deadline=None, derandomize=True)
