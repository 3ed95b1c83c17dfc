"""What people change: every change enters through `apply`, and becomes a release."""
