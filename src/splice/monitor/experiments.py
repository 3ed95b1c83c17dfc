"""Experiments: studies of rollouts and holdouts, reckoned anew from the units that changed."""

from __future__ import annotations
