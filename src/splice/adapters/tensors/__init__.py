"""Tensors: the way in and the way out that models in every place share."""
