"""The attester's side: a TPM and what it says, for log and challengers; the registrar that knows whose it is."""
