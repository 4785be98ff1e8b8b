"""The machinery of the trial: drawing cases, asking the candidate, judging what it answers, telling what went wrong."""
