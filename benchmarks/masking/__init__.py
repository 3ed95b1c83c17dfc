"""The benchmark of masking: speed, precision and recall on texts that no rule was written on."""
