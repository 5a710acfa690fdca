"""Runs that start by themselves: systemd timers, ``serve`` and ``run --all``."""
