"""Parties of the story in memory, honest unless told how to lie: libraries for tests, not tests."""
