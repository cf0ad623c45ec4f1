"""How many examples the property tests of the core try: few, the same every time, however slow the machine."""

from hypothesis import Phase, settings

# Shrinking a failure of a whole run takes minutes; the failing example itself is enough to look at.
FEW = settings(max_examples=20, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))
