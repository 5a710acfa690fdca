"""What would change between two leitstand.yml: offline, without secrets, without asking a host."""
