"""Classical controllers, which read the true state."""
