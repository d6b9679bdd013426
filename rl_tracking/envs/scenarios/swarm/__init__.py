"""Swarm: pursuers keep a formation about a moving target."""
