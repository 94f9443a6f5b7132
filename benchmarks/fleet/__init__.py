"""Ten thousand agents at one vault, in simulated time: `python -m benchmarks fleet`.

world      simulated time: a heap of calls
vault      a model of one server: capacity, queue, latency, tokens; away when told
load       what each agent keeps: the mix of secrets and their terms
ours       this agent: when it asks is decided by `agent.core.lease`, `agent.core.backoff` and the
           constants of `agent.stores`; budget, outage and log-in are replayed as events
peers      the others, by the constants of their sources
scenes     start of all, an outage, a shared secret that changes, all tokens revoked
real       the cross-check: the agent's own store, auto-auth and watchers, as coroutines
report     docs/scale/*.svg and the tables of docs/scale.md
"""
