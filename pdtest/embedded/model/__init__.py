"""What is computed: exact arithmetic, weights, the transformer, paged KV memory, the tokenizer."""
