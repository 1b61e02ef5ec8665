"""A chat server over TCP, with one thread per connection. It is made to be used and to be read.

Begin with ``conversation.Conversation``: it is one client's conversation, from the greeting to the goodbye. This is
the path of a message through threads and queues::

    socket -> reader -> History's queue -> history -> Publisher -> sessions' queues -> writers -> sockets

The other end of a connection, for programs and for people, is in ``client``, which has its own threads.

Threads
=======

==================  ===========  =============================================================================
name                how many     owns, and what it does
==================  ===========  =============================================================================
main                1            the signals; builds everything, waits, stops everything
acceptor            1            the listening sockets and the sockets of refused connections: accepts, starts
                                 readers, joins them
reader-N            1 a client   the client's socket and dialect: reads, carries out commands, says goodbye,
                                 closes; a writer sends
history             1            the only writing SQLite connection: numbers, commits, publishes, sweeps
writer-1, -2, ...   --writers    send what sessions' queues hold; never wait for a socket
writer-of-N         1 for each   sends to one client whose socket was full, and may wait for it; with
                    that is      --writers per-session, there is one for every client, and no
                    behind       writer-1, -2, ...
listener            1            only with --cluster: hears from PostgreSQL of new rows, for which it wakes
                                 the history, and of private lines, which it shows; trims the log
post                1            only with --cluster: sends private lines to other servers, by PostgreSQL
log                 1            the log file or stderr
trace               1            the file of --trace
lab-...             1 a fault    only with --lab: makes a fault, waits, and ends it
==================  ===========  =============================================================================

Three kinds of write do not go through a mailbox and a writer: the acceptor refuses a connection, a reader says that no
writer thread could be started for its client, and a reader sends TLS's handshake at the beginning and its farewell at
the end.

Locks
=====

Under a lock: memory only. No socket, no SQL, no log line, no join. No wait, except on the lock's own condition, which
releases the lock. Take out, release, act. A thread that holds a lock may take another one only if the table says so.

==========================  ========================================  ===========================================
lock                        guards                                    taken while it is held
==========================  ========================================  ===========================================
``Publisher._lock``         rooms, members, everybody's current room  ``Mailbox.mutex``, ``BatchQueue.mutex``
``SessionStore._lock``      sessions, their names, and the counts     none
                            of those that ended
``Writers._state``          the counts that flush() compares, the     none
                            writer threads
``Faults._lock``            the faults that /lab has under way        none
``Mailbox.mutex``           all sessions' queues and their states     none
``BatchQueue.mutex``        the history queue's items                 none
``Door._state``             which connections have places or names    none
``Accounts._lock``          accounts, and who has tried passwords     none
``Gate._lock``              who may work on a password, and who       none
                            waits for that
``Spares._lock``            which connections came lately             none
``Handshakes._lock``        the TLS handshakes of each address        none
``Seldom._lock``            how many log lines were left out          none
``Readers._lock``           spare connections, and who waits for one  none
``Output._lock``            the bytes that wait for all sessions      none
``Outgoing.lock``           the SSL objects of some connections, and  none
                            where they put what they encrypt
==========================  ========================================  ===========================================

Data crosses threads as a frozen dataclass (mypy alone freezes those of ``values``), as a named tuple, as bytes, as a
parcel, or in an attribute that is set and read as a whole. Any thread reads such an attribute without a lock. The main
ones are what ``inside`` shows; a mailbox's attributes without an underscore, and what its ``held``, ``depth`` and
``wait_for_low_water`` read; the bell of a BatchQueue; a room's ``last`` and its number of members; the number of rooms,
and of removed messages (``redaction.Lately``); and those in this table.

======================  ====================================================================================
attribute               set by
======================  ====================================================================================
``History.read_only``   the history thread, once
``Index.usable``        main, when the history is opened
``History.commits``     the history thread, which changes its numbers
``History.stored``      the history thread; the number of messages
``History.keeps``       the history thread, with --cluster; so is ``log_numbers``, whose numbers it changes
``Session.profile``     the session's reader; with --cluster the history thread, while the reader waits for it
``Session.dialect``     the session's reader; other threads read only its name
``Session.heard``       the session's reader
``Session.typed``       the session's reader
``Session.wire``        the session's reader, before anything is sent, if the client speaks TLS; so is ``cohort``
``Session.views``       the session's reader, under ``Publisher._lock``; without it before the session is in a room
``Session.kept``        the session's reader; so is ``note_at``. A session that takes its place reads both
``Session.line``        the session's reader, when it is drawn
``Session.token``       as the profile, under ``SessionStore._lock``; ``Session.identity``, ``.account``,
                        ``.operator`` and ``.proof`` with it
``Session.token_lost``  the history thread, when the session's token could not be stored; its reader unsets it
``Session.reply_to``    the readers of sessions that write to this one, and the listener; the last one counts
``Session.sent_out``    the history thread, under ``Publisher._lock``, and the session's reader; the last one counts
``Session.broken``      the session's writer; its reader, if no writer could be started
``Session.reason``      any thread that closes the session or cuts it off, under ``Mailbox.mutex``, together
                        with the last words, if there are any, so that the client sees this reason
======================  ====================================================================================
"""

__version__ = "1.1.0"
