"""The log: one order of everything that the broker stated, as tiles that anyone can read (spec/log-storage.md)."""
