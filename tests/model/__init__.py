"""An exhaustive model of the log's storage (spec/log-storage.md): every order of steps, kills, power cuts, failing
flushes within small bounds. It shares no code with the log; the names of its steps are those of the spec."""
