"""The checks of lab 9. They decide when the disk and the other server answer, so each run is the same."""

import asyncio
import pathlib
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import stepper

task = stepper.load_task(__file__)
PATIENCE = 3.0  # seconds for what should happen at once


def tell(*lines):
    pytest.fail("\n".join(lines), pytrace=False)


def run(scene):
    """Run a scene on an event loop. A scene returns what went wrong, as lines, or None."""

    async def whole():
        try:
            return await asyncio.wait_for(scene(), 4 * PATIENCE)
        except (TimeoutError, asyncio.TimeoutError):
            return [scene.__doc__ or "", "", "This does not come to an end: somebody waits for ever."]

    if lines := asyncio.run(whole()):
        tell(*lines)


async def soon(what, *story):
    """Await something that should happen at once, or fail with the story."""
    doing = asyncio.ensure_future(what)
    if not (await asyncio.wait([doing], timeout=PATIENCE))[0]:
        doing.cancel()
        tell(*story)
    return doing.result()


async def until(holds):
    """Wait until something holds. Returns whether it does in time."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not holds() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.002)
    return holds()


async def yes(name):
    return True


class Disk:
    """A disk that stores when it is let. It notices the thread that calls it, and two calls at the same time."""

    def __init__(self):
        self.lines = []
        self.wrong = ""
        self.let = threading.Event()
        self.let.set()
        self._loop = threading.get_ident()
        self._busy = threading.Lock()

    def store(self, line):
        if threading.get_ident() == self._loop:
            self.wrong = self.wrong or "on the thread of the event loop"
            self.lines.append(line)  # it must not wait here: nobody could let it go on
            return
        if not self._busy.acquire(blocking=False):
            self.wrong = self.wrong or f"with {line!r} while another line was being stored"
            return
        self.let.wait(PATIENCE)
        self.lines.append(line)
        self._busy.release()


class Client:
    """Somebody in the room, who reads, or does not."""

    def __init__(self, disk, reads=True):
        self.lines = []
        self.too_soon = ""
        self.cancelled = False
        self.goes_on = asyncio.Event()
        self._disk = disk
        if reads:
            self.goes_on.set()

    async def send(self, line):
        try:
            await self.goes_on.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if line not in self._disk.lines:
            self.too_soon = line
        self.lines.append(line)


async def room_with(disk, clients, limit=5):
    room = task.Room(yes, disk.store, limit)
    for name, client in clients.items():
        await room.join(name, client.send)
    return room


def test_a_line_is_stored_and_comes_to_everybody():
    async def scene():
        disk = Disk()
        clients = {name: Client(disk) for name in ("ann", "bob")}
        room = await room_with(disk, clients)
        await soon(room.say("ann", "one"), "ann says 'one', and say() does not return.")
        await soon(room.say("bob", "two"), "bob says 'two', and say() does not return.")
        said = ["ann: one", "bob: two"]
        if not await until(lambda: all(client.lines == said for client in clients.values())):
            return [
                "ann says 'one', and bob says 'two'.",
                "",
                *(f"  {name} got {client.lines}" for name, client in clients.items()),
            ]
        if disk.lines != said:
            return [f"ann says 'one', and bob says 'two'. Stored were {disk.lines}."]
        await soon(room.close(), "close() does not return, though everybody reads.")
        return None

    run(scene)


def test_of_two_who_join_at_once_one_gets_the_name():
    async def scene():
        asked = []
        answers = asyncio.Event()

        async def allows(name):
            asked.append(name)
            await answers.wait()
            return True

        disk = Disk()
        room = task.Room(allows, disk.store)
        joins = [asyncio.create_task(room.join("sam", Client(disk).send)) for _ in range(2)]
        await until(lambda: len(asked) == 2 or any(each.done() for each in joins))
        answers.set()
        await asyncio.wait(joins, timeout=PATIENCE)
        told = ["NameTaken" if isinstance(each.exception(), task.NameTaken) else "welcome" for each in joins]
        if sorted(told) != ["NameTaken", "welcome"]:
            return [
                "ann and bob both want to be sam. The other server takes a while to allow the name.",
                "",
                "  ann  the name is free",
                "  ann  awaits allows('sam')",
                f"  bob  {'the name is free' if len(asked) == 2 else 'the name is taken'}",
                *(["  bob  awaits allows('sam')"] if len(asked) == 2 else []),
                f"  ann  is told: {told[0]}",
                f"  bob  is told: {told[1]}",
                "",
                "While one task awaits, another one runs. Between the look and the taking there is an await.",
            ]
        return None

    run(scene)


def test_a_client_that_is_gone_before_it_is_in_has_no_name():
    async def scene():
        asked = []

        async def allows(name):
            asked.append(name)
            if len(asked) == 1:
                await asyncio.Event().wait()
            return name != "eve"

        disk = Disk()
        room = task.Room(allows, disk.store)
        first = asyncio.create_task(room.join("sam", Client(disk).send))
        await until(lambda: bool(asked))
        first.cancel()
        await asyncio.wait([first], timeout=PATIENCE)
        try:
            await soon(room.join("sam", Client(disk).send), "sam joins again, and join() does not return.")
        except task.NameTaken:
            return [
                "sam joins. While the other server is asked, his client breaks off, so the task is cancelled.",
                "sam joins again.",
                "",
                "He is told that the name is taken, by nobody: an await may end with CancelledError.",
            ]
        for _ in range(2):
            try:
                await room.join("eve", Client(disk).send)
            except PermissionError:
                pass
            except task.NameTaken:
                return ["The name eve is not allowed. The second time, it is taken, by nobody."]
            else:
                return ["The name eve is not allowed, and join() returns."]
        return None

    run(scene)


def test_the_loop_goes_on_while_the_disk_works():
    async def scene():
        disk = Disk()
        ann = Client(disk)
        room = await room_with(disk, {"ann": ann})
        disk.let.clear()
        saying = asyncio.create_task(room.say("ann", "one"))
        await asyncio.sleep(0.05)
        if disk.wrong:
            return [
                f"ann says a line. store() is called {disk.wrong}.",
                "",
                "It waits for the disk, and until it returns, nothing else runs: no other client is served.",
            ]
        if ann.lines:
            return ["ann says a line. It is shown to her while the disk still works: it is not stored yet."]
        if saying.done():
            return ["ann says a line. say() has returned, and the disk still works: the line is not stored yet."]
        disk.let.set()
        await soon(saying, "ann says a line, the disk has stored it, and say() does not return.")
        return None if await until(lambda: ann.lines == ["ann: one"]) else ["ann says a line, and does not get it."]

    run(scene)


def test_one_line_at_a_time_is_stored_and_all_see_the_same_order():
    async def scene():
        disk = Disk()
        clients = {name: Client(disk) for name in ("ann", "bob", "cy")}
        room = await room_with(disk, clients, limit=50)
        disk.let.clear()
        saying = [asyncio.create_task(room.say(name, f"{number}")) for number in range(5) for name in ("ann", "bob")]
        await asyncio.sleep(0.05)
        disk.let.set()
        await asyncio.wait(saying, timeout=PATIENCE)
        if disk.wrong:
            return [f"ann and bob say five lines each, at the same time. store() is called {disk.wrong}."]
        if not await until(lambda: all(len(client.lines) == 10 for client in clients.values())):
            return ["ann and bob say five lines each.", *(f"  {n} got {c.lines}" for n, c in clients.items())]
        for name, client in clients.items():
            if client.too_soon:
                return [f"{name} was shown {client.too_soon!r} before it was stored."]
            if client.lines != disk.lines:
                return [
                    "ann and bob say five lines each, at the same time.",
                    "",
                    f"  stored     {disk.lines}",
                    f"  {name:10} {client.lines}",
                    "",
                    f"{name} got them in another order.",
                ]
        return None

    run(scene)


def test_one_who_does_not_read_holds_up_nobody_and_is_cut_off():
    async def scene():
        disk = Disk()
        clients = {"ann": Client(disk), "cy": Client(disk, reads=False), "bob": Client(disk)}
        room = await room_with(disk, clients)
        story = ["cy does not read. Five lines may wait for anybody. ann says seven lines.", ""]
        for number in range(1, 8):
            await soon(
                room.say("ann", str(number)), *story, f"say() does not return for line {number}: it waits for cy."
            )
            await until(lambda number=number: len(clients["bob"].lines) == number)
            if clients["bob"].lines[-1:] != [f"ann: {number}"]:
                return [*story, f"bob, who reads, does not get line {number}. He got {clients['bob'].lines}."]
        if not await until(lambda: "cy" not in room.names()):
            return [*story, "More than five lines wait for cy, and cy is still in the room."]
        if not await until(lambda: clients["cy"].cancelled):
            return [*story, "cy is not in the room any more, but a task still waits for cy to read: it never ends."]
        try:
            await room.join("cy", Client(disk).send)
        except task.NameTaken:
            return [*story, "cy was cut off and comes back, but the name is taken."]
        return None

    run(scene)


def test_a_few_lines_may_wait():
    async def scene():
        disk = Disk()
        clients = {"ann": Client(disk), "cy": Client(disk, reads=False)}
        room = await room_with(disk, clients)
        for number in range(5):
            await soon(room.say("ann", str(number)), "say() waits for cy, who does not read for a moment.")
        await asyncio.sleep(0.02)
        clients["cy"].goes_on.set()
        if not await until(lambda: clients["cy"].lines == disk.lines):
            return ["cy does not read while ann says five lines, and then reads.", f"cy got {clients['cy'].lines}."]
        return None

    run(scene)


def test_one_may_leave_while_a_line_is_on_its_way():
    async def scene():
        disk = Disk()
        clients = {"ann": Client(disk), "cy": Client(disk, reads=False), "bob": Client(disk)}
        room = await room_with(disk, clients)
        saying = asyncio.create_task(room.say("ann", "one"))
        await until(lambda: bool(disk.lines))
        await asyncio.sleep(0.02)
        room.leave("cy")
        clients["cy"].goes_on.set()
        await asyncio.wait([saying], timeout=PATIENCE)
        if not saying.done():
            return ["ann says a line, and cy leaves while it is sent. say() does not return."]
        if saying.exception():
            return ["ann says a line, and cy leaves while it is sent.", f"say() raised {saying.exception()!r}."]
        if not await until(lambda: clients["bob"].lines == ["ann: one"]):
            return ["ann says a line, and cy leaves while it is sent.", f"bob got {clients['bob'].lines}."]
        await room.say("ann", "two")
        await until(lambda: len(clients["bob"].lines) == 2)
        if clients["cy"].lines:
            return ["cy has left, and after that something is sent to cy: " + repr(clients["cy"].lines)]
        return None

    run(scene)


def test_close_sends_what_waits_and_leaves_no_task():
    async def scene():
        disk = Disk()
        ann, cy = Client(disk, reads=False), Client(disk, reads=False)
        room = await room_with(disk, {"ann": ann, "cy": cy})
        for number in range(3):
            await soon(room.say("ann", str(number)), "say() waits for somebody who does not read.")
        closing = asyncio.create_task(room.close())
        await asyncio.sleep(0.02)
        ann.goes_on.set()
        await soon(closing, "cy does not read, and close() does not return.")
        if ann.lines != disk.lines:
            return ["Three lines wait for ann, who begins to read when close() is called.", f"She got {ann.lines}."]
        if not await until(lambda: asyncio.all_tasks() <= {asyncio.current_task()} | keep):
            return ["close() has returned, and a task still runs: it would be destroyed with the loop."]
        return None

    keep = set()

    async def with_others():
        keep.update(asyncio.all_tasks())
        return await scene()

    run(with_others)
