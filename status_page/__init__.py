"""The public status page: a collector and the pages that it prepares."""
