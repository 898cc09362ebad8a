"""Llama models: their files, tokenizers, chat formats, sampling, and a reference in NumPy.

The way through it: `catalog.find` names a file, `checkpoint.open_checkpoint` checks it and gives its `LlamaConfig`,
`weights.load_weights` stacks its weights by kind (`tensors.KINDS`), `rope.rope_tables` and `tokenizer.build` make what
decoding needs beside them, `chat.recognise` writes conversations as prompts, `sampling.choose` takes the next token.
"""
