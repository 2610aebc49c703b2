"""Where ledger assets come from: a folder a platform, `client` for I/O and `parse` that is pure."""
