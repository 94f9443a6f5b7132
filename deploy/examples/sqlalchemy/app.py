"""A small web app: GET / asks the database, with whatever credential works now.

DATABASE_URL has no user and no password; LISTEN is HOST:PORT; LEASEHOLD_SOCKET and BUNDLE are where
the agent is asked, and where it has put the files of the bundle.
"""

import json
import logging
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from following import Follower
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from agent.client import Client

QUERY = text("SELECT current_user, count(*) FROM orders")
engine = create_engine(
    os.environ.get("DATABASE_URL", "postgresql+psycopg://db.example/orders"),
    pool_size=4,
    pool_pre_ping=True,
)


class Orders(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        try:
            with engine.connect() as connection:
                user, orders = connection.execute(QUERY).one()
            self.answer(200, {"user": user, "orders": orders})
        except SQLAlchemyError as error:
            logging.error("%s: %s", type(error).__name__, error)
            self.answer(500, {"error": type(error).__name__})

    def answer(self, status, content):
        body = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    bundle = Path(os.environ.get("BUNDLE", "/run/leasehold/orders"))
    follower = Follower(engine, Client(), "database", bundle, proof="SELECT 1 FROM orders")
    host, _, port = os.environ.get("LISTEN", "127.0.0.1:8000").rpartition(":")
    with ThreadingHTTPServer((host, int(port)), Orders) as server:
        threading.Thread(target=follower.run, daemon=True).start()
        server.serve_forever()
