"""Algorithms that learn from branches. Sees environments only through ``restorable`` and Stable-Baselines3."""
