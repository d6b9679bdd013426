"""What an algorithm may ask of an environment, and the check that it is so. Knows neither worlds nor adapters."""
