"""A Llama decoder in the kernel language, and what runs it."""
