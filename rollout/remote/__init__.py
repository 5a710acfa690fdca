"""Roll out from elsewhere: a laptop or a pipeline sends leitstand.yml, the leitstand host applies it.

What comes in is only a configuration: the sender's key can start nothing else, and no secret travels.
"""
