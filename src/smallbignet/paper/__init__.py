"""The paper's tables as data, and the statistics of ablations beside them.

The networks themselves are in `models/`, the settings of each row in `recipes/`.
"""
