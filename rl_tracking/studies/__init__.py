"""Studies: which of the paper's claims hold, and where."""
