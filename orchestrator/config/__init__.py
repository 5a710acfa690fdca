"""The sections ``stores`` and ``backups`` of leitstand.yml, and the schedules in them."""
