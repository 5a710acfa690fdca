"""Proofs that a snapshot can be restored, from its objects to a loaded dump."""
