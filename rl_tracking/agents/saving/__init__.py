"""Checkpoints: what is written, and how it is read without running anything."""
