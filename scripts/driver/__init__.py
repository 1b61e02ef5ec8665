"""The load driver behind load.py and bench.py: many clients, few processes, every message checked.

The parts of a run, with their files::

    load.py, bench.py -> conductor -> worker, worker, ... (processes, each with a share of the clients)
                            |            one thread, selectors, all its sockets without blocking
                            |            dialects: how to enter, and how a client knows that it has
                            |            websocket: frames and the opening handshake
                            |            checks: what each client has seen, and in which order
                            |            histogram: latencies in buckets
                            +-- report: the table, CSV, JSON, a plot
                            +-- machine: what /proc says about the server and the cores

``counts`` stands apart: bench.py --counts runs a server inside its own process, and counts instead of timing.

The text of a message contains its sender, its number, and the time at which it was due. So any client in any process
can tell which messages are missing, double or out of order, and how late they are. The clock is
``time.perf_counter_ns``, which is the same for all processes of a system. All processes of the driver are on one
machine, wherever the server is, and they never use the server's clock.
"""
