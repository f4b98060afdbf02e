"""The Signal Service and the Execution Gateway over HTTP, through httpx.

`client` makes one bounded call and says what is known when it fails; `retries` decides whether a
read is repeated; `auth` signs. `signals`, `orders` and `positions` are the ports; `answers` decides
what a gateway's reply means. `transport` and `connection` are a lean wire under httpx, used where
httptools is installed.
"""
