"""Duties: what the law asks of an integration, ticked by what the system knows."""
