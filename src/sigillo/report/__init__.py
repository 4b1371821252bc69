"""Reports made of verdicts, pure: values in, text out."""
