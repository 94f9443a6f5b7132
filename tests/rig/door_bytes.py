"""Bytes for fuzzing the doors: what begins as a request and then is none, and odd requests."""

from __future__ import annotations

from hypothesis import strategies as st

ROOTS = (b"/v1/secrets/app", b"/v1/kv/data/app", b"/v1/app", b"/secretsmanager/get?secretId=app",
         b"/v1/events", b"/v1/bundles/app", b"/v1/secrets", b"/ping", b"/")  # fmt: skip
METHODS = (b"GET", b"HEAD", b"LIST", b"LINK", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
PIECES = (b"\r\n", b"\n", b"\x00", b" ", b":", b"%2f", b"%00", b"..", b"//", b"\xff", b"\r\n\r\n",
          b"Content-Length: 5", b"Content-Length: -1", b"Transfer-Encoding: chunked", b"0\r\n\r\n",
          b"HTTP/1.1", b"HTTP/9.9", b"Expect: 100-continue", b"{", b'{"version":1}', b"?wait=1ms",
          b"Connection: close", b"If-None-Match: *", b"X-Vault-Token: x")  # fmt: skip

_parts = st.one_of(
    st.sampled_from(ROOTS), st.sampled_from(METHODS), st.sampled_from(PIECES), st.binary(max_size=9)
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A request's parts in any order, with anything between."""
    start = draw(st.sampled_from(METHODS)) + b" " + draw(st.sampled_from(ROOTS)) + b" HTTP/1.1\r\n"
    rest = b"".join(draw(st.lists(_parts, max_size=15)))
    whole = start + rest + draw(st.sampled_from((b"", b"\r\n\r\n")))
    return whole[: draw(st.integers(0, len(whole)))] if draw(st.booleans()) else whole


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """Whole requests with an odd target, an odd header and perhaps a body."""
    visible = st.binary(max_size=40).map(lambda raw: bytes(each % 94 + 33 for each in raw))
    body = draw(st.binary(max_size=60))
    headers = [b"Host: x", b"Connection: close", b"Content-Length: %d" % len(body)]
    headers += [b"X-" + draw(visible).replace(b":", b"") + b": " + draw(visible)]
    target = draw(st.sampled_from(ROOTS)) + draw(visible)
    start = b"%b %b HTTP/1.1" % (draw(st.sampled_from(METHODS)), target)
    return b"\r\n".join([start, *headers, b"", body])
