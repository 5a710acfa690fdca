"""What runs on the hosts and is neither watched nor backed up, and the entries that would change that."""
