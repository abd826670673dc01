"""A server that labels videos over HTTP, and its page: `smallbig serve`.

It needs the extra `smallbignet[serve]`, so other rooms import this one inside functions. How an answer is computed is in
`inference/` and `explain/`.
"""
