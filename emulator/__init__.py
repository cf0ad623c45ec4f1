"""The embedded cloud: enough of AWS, on loopback, to deploy the templates to and to run the functions in.

`launcher` starts it from any Python process; `controls` is what tests and the demo do to it that AWS has no API for.
In its own process, `serve` runs `patched_ministack`: ministack, and in place of what it lacks our own, a room for each.
Of the rest of the repository it uses the forest and the base class of our errors, nothing else.
"""
