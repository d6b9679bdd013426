"""A robot in the plane catches a target: the paper author's basic track."""
