"""Spools: keep records aside while the ledger cannot take them."""
