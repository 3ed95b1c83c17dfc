"""Signatures of files and folders."""
