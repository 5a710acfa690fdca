"""Backups: encrypted, verified by hash, proven by restoring."""
