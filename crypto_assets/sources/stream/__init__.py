"""The real-time stream: WebSocket bars, trades and books of the exchanges into the hot store and the `live` tables.

Here belongs what listens, notices what it missed and asks for it again. Nothing that writes a raw day: the raw tables fetch
each day once it has closed.

`exchange.py` connects (ccxt.pro), `bars.py`, `trades.py` and `book.py` turn messages into rows and notice holes, `repair.py`
fills them by REST, `writer.py` stores in micro-batches, `polling.py` asks the slow tables, `service.py` runs all of it in one
process.
"""
