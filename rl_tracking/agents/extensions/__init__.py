"""Extensions of the algorithms, each a seam of its own."""
