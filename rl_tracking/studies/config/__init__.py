"""What a study file says: its schema, and reading it with checks and one-line errors."""
