"""The benchmark of gateways: one chat through each, before a provider that answers at once."""
