"""Figures of a study's results, with intervals, and verdicts on its claims."""
