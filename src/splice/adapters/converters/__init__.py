"""Converters: a trained estimator becomes an ONNX file."""
