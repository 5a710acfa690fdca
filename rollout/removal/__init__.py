"""Take Leitstand off hosts again."""
