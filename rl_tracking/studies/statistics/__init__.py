"""What is made of the records of a study: figures, intervals, verdicts."""
