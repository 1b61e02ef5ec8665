"""The load driver behind load.py: many clients, few processes, every message checked; and the parts of bench.py.

The parts of a run of load.py, with their files::

    load.py -> conductor -> worker, worker, ... (processes, each with a share of the clients)
                  |            one thread, selectors, all its sockets without blocking
                  |            dialects: how to enter, and how a client knows that it has
                  |            websocket: frames and the opening handshake
                  |            checks: what each client has seen, and in which order
                  |            histogram: latencies in buckets
                  +-- report: the table, CSV, JSON, a plot
                  +-- machine: what /proc says about the server and the cores

bench.py measures, and checks less: ``contenders`` starts the servers, ``crowd`` has the clients, ``comparison`` makes
the table. ``counts`` runs a server inside the bench's own process, and counts calls instead of timing them. ``moments``
follows a message from thread to thread, and ``stages`` makes a table of that.

A message of load.py contains its sender, its number, and the time at which it was due. So any client in any process
can tell which messages are missing, double or out of order, and how late they are. The clock is
``time.perf_counter_ns``, which is the same for all processes of a system. All processes of the driver are on one
machine, wherever the server is, and they never use the server's clock.
"""
