"""A witness of transparency logs: its key, its memory, its HTTP server (spec/witness.md)."""
