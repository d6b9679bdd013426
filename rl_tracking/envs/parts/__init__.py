"""What scenarios are made of: dynamics, motions, sensors and rewards."""
