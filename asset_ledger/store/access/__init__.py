"""Who may do what: tenants, users, their tokens, and the record of what was done."""
