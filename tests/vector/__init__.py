"""The files under vectors/ (all but evidence and policy): how they are read, and how they were made.

`python -m tests.vector.make` writes them again, byte for byte.
"""
