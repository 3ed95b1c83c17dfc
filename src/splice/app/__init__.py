"""The composition root: settings, plugins, wiring; the only room that knows adapters."""
