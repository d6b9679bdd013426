"""Gradient studies: how noisy and how biased the policy gradient of each estimator is."""
