"""Intercept: pursuers search for a target that they see from near only, and catch it."""
