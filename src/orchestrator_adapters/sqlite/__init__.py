"""One SQLite file as the whole durable memory: no server needed.

`database` owns the file: one thread, one connection, one writer at a time across processes. The
repositories beside it hold SQL only. The schema stands in `migrations`.
"""
