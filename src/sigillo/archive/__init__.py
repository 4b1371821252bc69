"""Keeps marked messages: a subscriber with a persistent session, and its SQLite store. Untrusted: decodes only."""
