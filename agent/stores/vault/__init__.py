"""Vault and OpenBao: hvac's API over one aiohttp transport.

store      the Store that watchers see: pace, token, lease and error in one place
auto_auth  keeps tokens alive, and gives the old one up when its leases are gone
login      when to log in, and how long to wait after it went wrong
proof      whether a token lives
giving_up  tokens on their way out
token      what is known of each
auth/      one file an auth method
preflight  which mount a path belongs to
answers    from the server's JSON to a Reading
envelope   what an answer says beside the value
passing    requests of local callers, passed on
client     the hvac calls that are sound over an asynchronous adapter
on_disk    a credential or TLS files that change
tls        the client's side of TLS
transport  the adapter: connections, TLS, limits; the only module that sees an aiohttp error
"""
