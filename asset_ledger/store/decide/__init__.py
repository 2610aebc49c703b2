"""What people decide, kept and taken back: overrides, tags, merges, links."""
