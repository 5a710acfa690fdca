"""Roll-out: from bare machines and one file to a fleet that is watched, backed up and published."""
