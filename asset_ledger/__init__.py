"""The ledger of every machine an organisation has: what it was on every day, and who said so."""
