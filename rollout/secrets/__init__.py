"""The fleet's secrets in git: Ansible vaults whose passwords are age files for several people.

``recipients/NAME.pub`` (keys of a person or of the pipeline, and which vaults they open),
``default.age`` and ``control.age`` (the vaults' passwords), ``vault_*.yml`` (encrypted by Ansible).
"""
