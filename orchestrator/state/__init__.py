"""What this host knows of its jobs: tasks, records of runs and proofs, metrics."""
