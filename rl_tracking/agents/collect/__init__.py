"""What a rollout with branches is made of: environments, policies, samples and batches."""
