"""The demo: a small Signal Service and Execution Gateway of our own, and a story told with them.

Both speak the real ones' HTTP, so the service under them is the one that runs in production.
"""
