"""Flags: other people's switches choose the variant of a call."""
