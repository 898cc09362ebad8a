"""Campaigns: many random programs, records and files against what the machine promises.

Each module runs from the command line, `python -m tests.campaigns.NAME --count N --seed S`, prints a table of what it
saw, and ends with 1 where a promise was broken. `make test` runs a small sample of each.
"""
