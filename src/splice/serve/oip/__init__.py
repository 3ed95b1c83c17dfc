"""The Open Inference Protocol v2: KServe, Triton and MLServer clients call integrations."""
