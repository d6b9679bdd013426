"""Policy gradients along the runs of a study: how noisy and how biased those of each estimator are."""
