"""What the leitstand host does with a configuration that `leitstand apply --on` sends to it."""
