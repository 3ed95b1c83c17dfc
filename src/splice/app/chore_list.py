"""Which chores a process that serves has: a line for each part of the house that needs one."""

from __future__ import annotations

