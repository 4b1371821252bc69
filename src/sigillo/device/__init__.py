"""Device side: keys, the 64-bit sequence that survives restarts, signed messages, enrolment, and a simulated fleet."""
