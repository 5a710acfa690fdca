"""This host's knowledge of its jobs: tasks, records of runs and proofs, metrics."""
