"""Vector search: exact, quantized and inverted-file indexes over one matrix of rows."""
