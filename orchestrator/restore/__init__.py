"""From a snapshot to files on this machine."""
