"""How Leitstand gets onto machines: units, packages, roles."""
