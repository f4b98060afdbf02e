"""The Signal Service and the Execution Gateway over HTTP, through httpx's transports.

`client` makes one bounded call; `failures` says what is known when it fails; `retries` decides
whether a read is repeated; `auth` signs. `signals`, `orders` and `positions` are the ports.
`json_fields` reads what peers say, `reports` the gateway's records of orders; its words stand in
`orchestrator_adapters.gateway_words`. `answers` decides what a reply to a new order means, `looks`
what one about an order that exists does, `replies` what a read's status does. `asking` bounds a
batch of calls. `transport` chooses the wire under httpx; `lean` over `connection` is our own, for
where httptools is installed.
"""
