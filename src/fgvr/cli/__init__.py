"""The command line: one file a verb. ``fgvr.cli.main:main`` is the entry point.

Importing it imports neither torch nor numpy: each verb imports what it needs when it runs.
"""
