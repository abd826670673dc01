"""From a path to a batch: which videos there are, which frames are taken, which pixels the network sees.

Nothing here knows a network.
"""
