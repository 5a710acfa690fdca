"""The fleet's inventory in one place: pulled from the exporters, kept with its history, searched."""
