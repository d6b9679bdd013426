"""Tasks: a scenario is one short file that says what is in the world and when it ends."""
