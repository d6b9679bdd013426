"""Searches for hyper-parameters: the trials of a study's table `[tune]`."""
