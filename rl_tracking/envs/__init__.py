"""Worlds one can fork: the simulator and its Gymnasium and Stable-Baselines3 faces. Knows nothing of agents."""
