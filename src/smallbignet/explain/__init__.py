"""Why a network gave its answer: exact contributions of places and frames, where big views looked, the paper's Fig. 3.

The command is `commands/explain.py`. How an answer is computed is in `inference/`.
"""
