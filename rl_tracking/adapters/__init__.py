"""Makes any Gymnasium environment restorable: builds it, chooses a snapshot strategy, proves it and watches it."""
