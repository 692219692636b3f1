"""A viewer of the dashboard, as a browser is one: it asks for the live page, and notes how fast and what it says."""

import time
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect
from websockets.typing import Subprotocol

STREAMLIT = Subprotocol("streamlit")
CONNECT_S, DRAWN_S = 2.0, 10.0


class NotDrawn(Exception):
    """The page's run has not ended in time, or by an error."""


def look(dashboard: str) -> dict[str, Any]:
    """
    Have the page drawn once: milliseconds until it was, and the sentences of its red, yellow and blue boxes.

    Raises:
        OSError, WebSocketException: nobody answers. NotDrawn: it has not ended after DRAWN_S, or by an error.
    """
    began = time.monotonic()
    address = dashboard.replace("http", "ws", 1) + "/_stcore/stream"
    says: list[str] = []
    with connect(
        address, subprotocols=[STREAMLIT], open_timeout=CONNECT_S, close_timeout=0.2, max_size=None
    ) as browser:
        wanted = BackMsg()
        wanted.rerun_script.page_name = ""
        browser.send(wanted.SerializeToString())
        while (left := began + DRAWN_S - time.monotonic()) > 0:
            try:
                said = ForwardMsg.FromString(browser.recv(timeout=left, decode=False))
            except TimeoutError:
                break
            if said.delta.new_element.WhichOneof("type") == "exception":
                raise NotDrawn(f"the page has an error: {said.delta.new_element.exception.type}")
            if body := said.delta.new_element.alert.body:
                says.append(body)
            if said.WhichOneof("type") == "script_finished":
                return {"status": 200, "ms": round((time.monotonic() - began) * 1000), "says": says}
    raise NotDrawn(f"not drawn after {DRAWN_S:.0f} s; it says {says}")
