"""`leitstand apply`: change the fleet in a safe order, and prove it."""
