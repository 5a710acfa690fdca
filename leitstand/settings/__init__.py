"""leitstand.yml read into frozen models, with file and line of every problem."""
