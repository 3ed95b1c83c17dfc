"""Child processes that adapters of several ports start: both ends of what they share."""
