"""What a run is: its settings, its task, training, resuming, evaluation and benchmarks."""
