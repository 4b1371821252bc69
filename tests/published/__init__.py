"""Tests of `sigillo.release`: what a builder publishes."""
