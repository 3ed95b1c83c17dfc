"""Untrusted: a text from outside, which a model is to read and never to obey."""

from __future__ import annotations


class Untrusted(str):
    """A text from outside: a retrieved document, a mail, what a tool gave back.

    It is a text as any other, but a prompt shows it to the model between marks, as data, and
    policies that stand at `context` look at it. What is made of it (by `+`, by an f-string) is
    an ordinary text again: mark what you hand on.
    """

    __slots__ = ()
