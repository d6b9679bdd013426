"""Pursuit: one or more pursuers fly after one target and stay with it."""
