"""What `asset-ledger doctor` looks at: small probes that only read, and pure verdicts over what they found."""
