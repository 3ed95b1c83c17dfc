"""The Open Inference Protocol v2 as it goes over a wire: tensors, JSON, binary data, protobuf."""
