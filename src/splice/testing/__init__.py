"""Public test tools: contract suites for every port, behaving fakes, a client."""
