"""The Signal Service and the Execution Gateway over HTTP, through httpx's transports.

`client` makes one bounded call and says what is known when it fails; `retries` decides whether a
read is repeated; `auth` signs. `signals`, `orders` and `positions` are the ports; `json_fields`
reads what peers say, `answers` decides what a gateway's reply to an order means, `replies` what a
read's status does. `transport` chooses the wire under httpx; `lean` over `connection` is our own,
used where httptools is installed.
"""
