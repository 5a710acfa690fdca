"""``leitstand backup …``: commands, options, and what they print."""
