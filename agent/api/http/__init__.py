"""HTTP/1.1 for the local doors, as thin as it can be: one protocol object a connection.

    message      what was asked, and the answer
    parsing      bytes to requests, within limits
    connection   one client: its requests in order, its answers, its patience
    shared       what they have in common
    server       all clients of one door, and the end of those who are too slow

Parsing is llhttp's (httptools). A routed aiohttp handler with a caller, a rule and an audit record
answers 16 000 requests a second on one core, this a multiple of that. What a door answers is not
known here.
"""

from agent.api.http.message import Answer, Door, Reply, Request, Stream, problem
from agent.api.http.server import HttpServer
from agent.api.http.shared import Limits

__all__ = ["Answer", "Door", "HttpServer", "Limits", "Reply", "Request", "Stream", "problem"]
