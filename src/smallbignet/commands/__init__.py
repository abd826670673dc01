"""What people type: one file a verb, named like the verb, with its function and `show(result)` for people.

Commands know things; things never know commands, and commands don't know each other, except `demo` and `ablate`, which train
and evaluate.
"""
