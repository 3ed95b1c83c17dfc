"""Places outside the ledger where signed heads are kept."""
