"""Which snapshots stay, and the removal of the others."""
