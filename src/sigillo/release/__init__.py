"""What a builder publishes: plain files, their hashes and signatures, for stock tools to check (spec/release.md)."""
