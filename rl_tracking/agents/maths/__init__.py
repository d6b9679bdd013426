"""Estimators, losses and activations: pure functions, one equation each."""
