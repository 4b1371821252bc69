"""Tests of `sigillo.core`, one file per module."""
