"""Reads a file: what it is by its content, and the text that is in it. A program of its own.

It is a part of the environment, as a library is: a release does not pin it, and names its version
in every record. It runs apart from whoever asks, so that a hostile file takes nobody else along.
"""

VERSION = "1"
