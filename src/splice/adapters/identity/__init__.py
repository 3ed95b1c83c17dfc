"""Identity providers: who somebody is, by a party that is trusted to know."""
