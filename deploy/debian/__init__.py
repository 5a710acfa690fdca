"""Debian packages, byte for byte reproducible, from the locked requirements."""
