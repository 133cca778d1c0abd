"""The backend as a service: a gateway that loses nothing, and a worker process per device that paints.

gateway (ROUTER, no torch) -> store (SQLite and files) -> dispatch -> executor -> worker (torch).
"""
