"""A new model takes over: hosted beside the champion, judged on a tenth of the servers, cut over or rolled back.

approval.py starts a promotion, protocol.py says which step follows which answer, service.py takes the steps and
progress.py is what they remember. The canary: canary.py names it, candidate_run.py lets the candidate decide inside
detect, judge.py judges its slices with what comparison.py finds, by the limits of treeline.core.model.canary.
"""
