"""Runs the jobs of a study: on this machine or a Ray cluster, into a folder that a later run completes."""
