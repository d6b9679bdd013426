"""The command line: formats and parses, computes nothing."""
