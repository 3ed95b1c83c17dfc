"""Collecting: each shard is sent once, looked after, and taken in when its batch has ended."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import batched
from typing import Any

from splice.core.errors import ProviderFailed, RefusedError, RouteError, SpliceError
from splice.core.units import NANO
from splice.engine.spend import Reservation
from splice.ports.offline import Delivered, Sought, Standing
from splice.serve.batch import job
from splice.serve.batch.job import Result
from splice.serve.batch.lines import line_of_error, line_of_record
from splice.serve.batch.shards import Entry, Shard
from splice.serve.batch.work import Work

SURE_S = 60.0
"""A batch that may have been made, and that its provider does not list so long after, was not."""
