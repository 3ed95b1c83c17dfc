"""Keys and budgets, and what was spent: who may ask, and for how much."""

from __future__ import annotations

from typing import Protocol

import msgspec

from splice.core.access import Budget, BudgetScope, Change, Key


class Access(msgspec.Struct, frozen=True):
    """All keys, revoked ones too, oldest first, and all budgets by scope, name and period.

    `generation` grows with every change.
    """

    generation: int
    keys: tuple[Key, ...] = ()
    budgets: tuple[Budget, ...] = ()


class Spending(msgspec.Struct, frozen=True):
    """What recorded calls cost since a moment, in billionths of the account's currency.

    Calls of unknown cost count nothing. A team's spending is that of the keys that are its own now.
    """

    by_key: dict[str, int]  # by the key's id
    by_team: dict[str, int]
    by_integration: dict[str, int]
    total: int

    def of(self, scope: BudgetScope, name: str) -> int:
        """What one of them spent; the name of `all` is empty."""
        if scope is BudgetScope.ALL:
            return self.total
        spent = {
            BudgetScope.KEY: self.by_key,
            BudgetScope.TEAM: self.by_team,
            BudgetScope.INTEGRATION: self.by_integration,
        }
        return spent[scope].get(name, 0)


class KeyStore(Protocol):
    """API keys and budgets. Never the secret of a key, only its digest.

    Each change is an audit event in the same transaction; `change` says whose, when and why. Where
    it is left out, nobody is named.
    """

    def add_key(self, key: Key, change: Change | None = None) -> None:
        """Store a new key.

        Raises:
            StoreError: Its id is taken.
        """
        ...

    def key(self, key_id: str) -> Key | None:
        """One key, revoked or not, or None."""
        ...

    def update_key(self, key: Key, change: Change | None = None) -> Key:
        """Change what a key may do, or its digest. Returns the key as stored.

        When it was made, by whom, and whether it is revoked stay as they are.

        Raises:
            StoreError: There is no such key.
        """
        ...

    def revoke_key(self, key_id: str, now_us: int, change: Change | None = None) -> Key:
        """End a key for good; the first time counts. Returns the key as stored.

        Raises:
            StoreError: There is no such key.
        """
        ...

    def put_budget(self, budget: Budget, change: Change | None = None) -> None:
        """Set a budget; there is one for each scope, name and period."""
        ...

    def delete_budget(self, budget: Budget, change: Change | None = None) -> bool:
        """Take a budget away, whatever its amount; False where there is none."""
        ...

    def generation(self) -> int:
        """A number that grows with every change. Cheap: it is asked twice a second."""
        ...

    def access(self) -> Access:
        """Everything. What changes meanwhile may be in it, but not yet in its generation."""
        ...

    def spending(self, since_us: int) -> Spending:
        """What the calls cost that were asked since then (Unix microseconds).

        Reads every call of that time: for the start of a process, not for each call.
        """
        ...
