"""The reference: pages made from the code, and what makes them (``generate.py``)."""
