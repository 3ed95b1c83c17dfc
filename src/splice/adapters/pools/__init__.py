"""Pools: run models in processes of their own."""
