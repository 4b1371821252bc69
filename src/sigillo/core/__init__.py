"""Every format and its verification, pure: bytes, policy and `now` in, result out; no I/O, clock or randomness."""
