"""Runs, plans, orders and the latch in Postgres, through psycopg 3's asynchronous pool."""
