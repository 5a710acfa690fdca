"""``leitstand init``: the first leitstand.yml, from a few answers."""
