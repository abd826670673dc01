"""Pages that people look at: one HTML file per page with everything in it, to be handed on and read without a network.

What a page shows is computed elsewhere. Names of files and classes are input: templates escape everything.
"""
