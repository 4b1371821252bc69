"""The operator's side: settings, configuration, log key, measured start and supervision of the broker."""
