"""What is written and read back: typed records, file names, fingerprint, tables."""
