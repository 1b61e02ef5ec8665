"""The load driver behind load.py and bench.py: many clients, few processes, every message checked.

A run, with the file that each stretch is in::

    load.py, bench.py -> conductor -> worker, worker, ... (processes, each with a share of the clients)
                            |            one thread, selectors, all its sockets without blocking
                            |            dialects: what to say to get in, what comes when one is in
                            |            checks: what each client has seen, and in which order
                            |            histogram: latencies in buckets, however long it runs
                            +-- report: the table, CSV, JSON, a plot
                            +-- machine: what /proc says of the server and the cores

A message carries, in its text, who sent it, its number among the sender's, and when it was to be sent. So any
client in any process can tell what is missing, double or out of order, and how late it is. The time is
``time.perf_counter_ns``, which Python promises to be the same for all processes of a system; the driver's
processes are on one machine wherever the server is, and the server's clock is never looked at.
"""
