"""The promises, tried on real processes under faults: see `python -m tests.chaos --help`.

Three replicas of the service run over one Postgres and one Redis, each connection through a proxy,
with a gateway that keeps a ledger of what it took and misbehaves as it is told. Clients ask,
operators stop and release, processes are killed, frozen and cut off. In the end the faults cease,
and the ledger, the database and every answer that a client saw are compared.

    python -m tests.chaos soak --seconds 600 --seed 1
    python -m tests.chaos engage --trials 1000
    python -m tests.chaos recovery --kills 30
"""
