"""Algorithms that learn from branches. Sees environments through `restoring` and Stable-Baselines3 alone."""
