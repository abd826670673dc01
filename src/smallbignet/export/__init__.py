"""The network in other runtimes, with its proof of equality: the form that is exported, the files, and the comparison.

What runs an exported network for `predict` and the other verbs is `inference/exported.py`.
"""
