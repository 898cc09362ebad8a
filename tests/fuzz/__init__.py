"""Random kernels: their text, what it means in NumPy, what is wrong with what the compiler makes of it, made small.

A kernel is a module's text. The same text runs twice: with `pto`, and with the NumPy twin of `meaning`; so whatever
text `generate` writes, a person writes, or `shrink` leaves over, has a meaning that owes nothing to the compiler.
"""
