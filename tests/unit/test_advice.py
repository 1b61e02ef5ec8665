"""Errors and notices in words: what every client gets, and what people who type commands read instead."""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest

import chat_threads
from chat_threads import account_errors, commands, disconnects, errors, events, lab, qr, redaction, refusals
from chat_threads.cluster import errors as cluster
from chat_threads.dialects import advice
from chat_threads.dialects.mistyped import Mistyped
from chat_threads.dialects.text import SpoiltLine, TextDialect
from chat_threads.metrics import MetricsNotShown

UTF8 = "Type it once more. If that does not help, set your terminal to UTF-8, and connect with: telnet -- HOST -PORT"

# Every error with advice of its own for people who type: what went wrong, what every client gets then, and what they
# read in its place.
TYPED = [
    (errors.UnknownCommand("/foo"), "There is no command /foo.", "", "/help lists the commands."),
    (errors.UnknownCommand("/jion", "/join"), "There is no command /jion. Did you mean /join?", "", ""),
    (
        errors.SpacedRoom("#my", "#my_room"),
        "A room's name has no spaces.", "Try #my_room.",
        "Type /create #my_room; or /create #my, and then its /topic.",
    ),
    (
        errors.NameTaken("ann", "ann2"),
        "The name ann is taken.", "Try ann2.", "Try ann2. If that is you, type /resume TOKEN.",
    ),
    (errors.UnknownRoom("#x"), "There is no room #x.", "", "/rooms lists the rooms, /join makes one."),
    (
        errors.UnknownRoom("#lap", "#lab"),
        "There is no room #lap. Did you mean #lab?", "", "/rooms lists the rooms.",
    ),
    (errors.RoomExists("#x"), "The room #x exists already.", "", "/join #x goes there."),
    (errors.LooksLikeRoom("#a", "#b"), "#a looks like #b, which exists already.", "", "/join #b goes there."),
    (errors.ServerHasTooManyRooms(9), "There are 9 rooms already.", "", "/rooms lists them."),
    (
        errors.InTooManyRooms(20),
        "You are in 20 rooms, and more are not allowed.", "Leave one of them.", "/leave one of them.",
    ),
    (
        errors.MadeTooManyRooms(50),
        "You have made 50 rooms, and more are not allowed.", "Delete one of them.", "/delete one of them.",
    ),
    (
        errors.AddressMadeTooManyRooms(2.7),
        "Too many rooms were made from your address.",
        "Delete one of yours, or make another one in 3 seconds.",
        "/delete one of yours, or make another one in 3 seconds.",
    ),
    (errors.NotInRoom(), "You are not in a room.", "", "/rooms lists the rooms, and /join enters one."),
    (errors.NotInRoom("#x"), "You are not in #x.", "", "/join #x goes there."),
    (
        refusals.NamesakesRoom("#x", "ann"),
        "#x was made by ann, under another token.",
        "If that was you, come back with your token first.",
        "If that was you, /resume TOKEN first.",
    ),
    (
        errors.NobodyWrote(),
        "Nobody has sent you a private line since you connected.", "", "To send one, type /msg NAME text.",
    ),
    (
        errors.WriterLeft("bob"),
        "The bob who wrote to you has left.", "Whoever is called bob now may be somebody else.",
        "To write to the bob who is here now, type /msg bob and the text.",
    ),
    (
        refusals.NamesakesRules("#lab", "ann"),
        "#lab was made by ann, under another token.",
        "If that was you, come back with your token first.",
        "If that was you, /resume TOKEN first.",
    ),
    (
        refusals.NamesakesMessage("#lab", 5, "ann"),
        "Message 5 of #lab is from ann, under another token.",
        "If that was you, come back with your token first.",
        "If that was you, /resume TOKEN first.",
    ),
    (
        refusals.NotListed("bob", "muted in", "#lab"),
        "bob is not muted in #lab.", "", "/bans #lab lists who is.",
    ),
    (
        refusals.NoOperator("bob", "#lab"),
        "bob is not an operator of #lab.", "", "/room #lab names its operators.",
    ),
    (
        refusals.AccountsOnly("#lab"),
        "#lab is only for people who have an account and are logged in.", "",
        "/login logs you in; /register makes an account.",
    ),
    (
        refusals.AccountsOnly("#lab", refusals.unsent("this", "hello")),
        "#lab is only for people who have an account and are logged in.", "This was not sent: hello",
        "/login logs you in; /register makes an account. This was not sent: hello",
    ),
    (
        refusals.ListedAddress("bob", "banned from", "#lab", "cy"),
        "bob is banned from #lab with the address of cy.", "Lift what was done to cy.",
        "/bans #lab lists that, and /unban or /unmute lifts it.",
    ),
    (refusals.GuestBanned("bob", "#lab"), "bob is banned from #lab.", "Lift the ban first.", "/unban bob first."),
    (
        refusals.RoomInSetting("lab quiet", "#lab", "quiet"),
        "lab quiet is not a setting of a room.", "Did you mean quiet for #lab?", "Did you mean /room #lab quiet?",
    ),
    (
        refusals.GuestBanned("bob", "#lab", True),
        "bob was just sent out of #lab.", "Lift the ban first.", "/unban bob first.",
    ),
    (
        refusals.InviteOnly("#lab", known=True),
        "#lab is only for people who were invited.", "Ask one of its operators for an invitation.",
        "Ask one of its operators for an invitation.",
    ),
    (
        refusals.InviteOnly("#lab"),
        "#lab is only for people who were invited.",
        "Ask one of its operators for an invitation. If you had one, come back with your token or log in first.",
        "Ask one of its operators for an invitation. If you had one, type /resume TOKEN or /login first.",
    ),
    (
        errors.NotConnected("ann"),
        "Nobody here is called ann now. The name belongs to an account.", "", "/who lists who is here.",
    ),
    (
        errors.NotConnected("ann", True),
        "Nobody here is called ann now. The name belongs to an operator of the server.", "", "/who lists who is here.",
    ),
    (refusals.NotInvited("bob", "#lab"), "bob is not invited to #lab.", "", "/room #lab names who is."),
    (
        refusals.NoAddress("bob", "#lab"),
        "bob is not connected, so nobody knows the address.", "Ban only the person.",
        "Without the word address, /ban is for the person and the name.",
    ),
    (refusals.NotThere("bob", "#lab"), "bob is not in #lab.", "", "/who #lab lists who is."),
    (
        refusals.NotOperator("#lab", "the owner and the operators of #lab"),
        "Only the owner and the operators of #lab may do that.", "", "/room #lab names them.",
    ),
    (refusals.NotOperator("#lobby", "the server's operators"), "Only the server's operators may do that.", "", ""),
    (refusals.NotOwner("#lab"), "Only the owner of #lab may do that.", "", "/room #lab says who that is."),
    (
        refusals.NoMuting("#lab", "the owner and the operators of #lab"),
        "Only the owner and the operators of #lab may do that.",
        "Use ignore to hide from yourself what somebody says.",
        "/ignore NAME hides from you what somebody says.",
    ),
    (errors.UnknownPerson("x"), "Nobody here is called x.", "", "/who lists who is here."),
    (errors.UnknownPerson("amm", "ann"), "Nobody here is called amm. Did you mean ann?", "", ""),
    (
        errors.TooManyIgnored(100),
        "You already ignore 100 people.", "Stop ignoring one of them first.", "/unignore one of them first.",
    ),
    (
        account_errors.PasswordNeeded("ann", "ann2"),
        "The name ann belongs to an account.",
        'Send "password", too, to log in, or take another name, such as ann2.',
        "If that is you, type /login; or try ann2.",
    ),
    (
        account_errors.NoAccount("ann"),
        "There is no account ann.", "", "/register makes your name an account.",
    ),
    (
        account_errors.NotLoggedIn(),
        "You are not logged in.", "", "/login logs you in, /register makes your name an account.",
    ),
    (
        account_errors.PlainPassword(),
        "This connection is not encrypted, and this server takes no passwords on such a connection.",
        "Connect with TLS, or come back with your token.", "Connect with TLS, or type /resume TOKEN.",
    ),
    (
        account_errors.PlainName("ann"),
        "The name ann belongs to an account, and this server takes no passwords without encryption.",
        "Take another name. If this one is yours, connect with TLS, or come back with your token.",
        "Take another name. If this one is yours, connect with TLS, or type /resume TOKEN.",
    ),
    (errors.NotUtf8(), "That line is not UTF-8, so it was not sent.", "", UTF8),
    (
        disconnects.TooSlow(),
        "You read too slowly: too much was waiting for you.",
        "Connect again; the history has what you missed.",
        "Connect again; /history shows what you missed.",
    ),
]  # fmt: skip

# All others, with typical fields, and what everybody gets.
PLAIN = [
    (refusals.Protected("#lab", 1), "Only the owner of #lab may do that to one of its operators."),
    (refusals.Protected("#lab", 2), "Only the server's operators may do that to the owner of #lab."),
    (refusals.Protected("#lab", 3), "Nobody may do that to one of the server's operators."),
    (refusals.ClosedRoom("#lab"), "The room #lab exists already, and you may not enter it."),
    (
        refusals.BannedAddress("#lab", 7199, "spam", "ann"),
        "Everybody who comes from your address is banned from #lab for 2 hours (spam). It was done by ann, who can lift"
        " it.",
    ),
    (refusals.Banned("#lab", 7199), "You are banned from #lab for 2 hours."),
    (refusals.Banned("#lab", 59, "", True), "You were sent out of #lab. You may come back in 59 seconds."),
    (refusals.BannedName("#lab", "eve"), "The name eve is banned from #lab. You keep your name there."),
    (
        refusals.BadSetting("quite", "Did you mean quiet?", "quiet"),
        "quite is not a setting of a room. Did you mean quiet?",
    ),
    (
        refusals.LateTime("/mute gus 2h spam"),
        "A time is in digits, right after the name, as in 10m. Nothing was done. Type /mute gus 2h spam.",
    ),
    (refusals.BadTime("5x"), "5x is not a time. Nothing was done. A time is like 10m, 2h or 3d."),
    (redaction.UnknownMessage("#lab", 5), "#lab has no message 5."),
    (redaction.RemovedAlready("#lab", 5), "Message 5 of #lab has been removed already."),
    (
        redaction.OthersMessage("#lab", 5, "bob", "the owner and the operators of #lab"),
        "Message 5 of #lab is from bob. Only bob, the owner and the operators of #lab can remove it.",
    ),
    (
        redaction.OldMessage("#lab", 5),
        "Message 5 of #lab is older than a day, so you cannot remove it any more.",
    ),
    (
        SpoiltLine(),
        "That line is not UTF-8, so it was not sent. Type it again.",
    ),
    (refusals.LooksHidden("#a"), "Another room's name looks like #a."),
    (refusals.Banned("#lab"), "You are banned from #lab."),
    (refusals.Banned("#lab", 7000, "rude"), "You are banned from #lab for 117 minutes (rude)."),
    (
        refusals.Muted("#lab", 60, so=refusals.unsent("this", "hello\nthere")),
        "You are muted in #lab for 1 minute. This was not sent: hello…",
    ),
    (
        refusals.Muted("#lab", 60, "rude", refusals.NAME_STAYS),
        "You are muted in #lab for 1 minute (rude). You keep your name there.",
    ),
    (
        refusals.QuietRoom("#lab", refusals.unsent("this action", "waves")),
        "#lab is quiet: only its operators speak now. This action was not sent: waves",
    ),
    (
        refusals.TooSoon("#lab", 60, 5, "hi"),
        "#lab is slow: everybody but its operators may speak once in 1 minute. Send this again in 5 seconds: hi",
    ),
    (
        refusals.TooSoon("#lab", 60, 1, "for each in range(3):\n    print(each)"),
        "#lab is slow: everybody but its operators may speak once in 1 minute. Send this again in 1 second:"
        " for each in range(3):…",
    ),
    (
        refusals.TooSoon("#lab", 60, 5, so=refusals.NAME_STAYS),
        "#lab is slow: everybody but its operators may speak once in 1 minute. You keep your name there."
        " Try again in 5 seconds.",
    ),
    (refusals.NotServerOperator(), "Only the server's operators may do that."),
    (
        refusals.AddedTooMany("#lab", 59.5),
        "That list of #lab is long, and too many people were added to such lists from your address."
        " Try again in 60 seconds.",
    ),
    (
        refusals.ListFull("#lab", 50, "operators"),
        "#lab has 50 operators already, and more are not allowed. Remove one of them first.",
    ),
    (errors.Usage("/me action"), "Usage: /me action"),
    (Mistyped("A name has no spaces.", "Type /nick annb."), "A name has no spaces. Type /nick annb."),
    (errors.BadName(), errors.BadName.rule),
    (errors.BadName("bob"), f"{errors.BadName.rule} Try bob."),
    (errors.ReservedName("server", "server2"), "The name server is reserved for the server. Try server2."),
    (
        errors.MixedName("Cyrillic and Latin", "bob"),
        "A name is written in one script, and this one mixes Cyrillic and Latin. Try bob.",
    ),
    (
        errors.LooksTaken("anm", "ann", "ann2"),
        "The name anm looks like ann, which belongs to somebody else. Try ann2.",
    ),
    (errors.BadRoom(), "A room's name is '#' and 1 to 32 letters, digits, '-' or '_', like #lab2."),
    (
        errors.BadName("annlab2", "A name has no spaces.").with_near("annlab3"),
        "A name has no spaces. Try annlab3.",
    ),
    (errors.RoomGone(), "That room has just been deleted. Nothing was done."),
    (refusals.LobbyStays("#lobby"), "#lobby cannot be deleted."),
    (refusals.NobodysRoom("#x"), "#x belongs to nobody: only the server's operators can delete it."),
    (refusals.OthersRoom("#x", "ann"), "#x was made by ann. Only ann and the server's operators can delete it."),
    (
        errors.IgnoresItself(),
        "You cannot ignore yourself: your own lines show you that they are stored.",
    ),
    (
        errors.NotLocal(),
        "Only connections from the server's own machine may see that, and no browser; --lab shows it to everybody.",
    ),
    (
        MetricsNotShown(),
        "Only connections from the server's own machine may see the metrics. Start the server with --metrics-from and"
        " your address, or ask on that machine.",
    ),
    (account_errors.WrongPassword("ann"), "That is not the password of ann."),
    (account_errors.RegisteredAlready("ann", "Ann"), "ann has a password already, and you are logged in."),
    (
        account_errors.OperatorsName("ann"),
        "ann is an operator's name: it can be registered only on the server's own machine.",
    ),
    (account_errors.BadPassword("A password has 8 characters."), "A password has 8 characters."),
    (
        account_errors.TypedPassword("/login"),
        "/login takes nothing after it. If that was a password, others may have seen it: choose another one."
        " Type /login alone, and then what you are asked for.",
    ),
    (
        account_errors.PasswordsBusy(),
        "Too many people are logging in at this moment. Try again in half a minute. A token needs no password.",
    ),
    (
        account_errors.TooManyPasswords(2.5),
        "Too many passwords came from your address. Try again in 3 seconds.",
    ),
    (
        account_errors.TooManyPasswords(60, "ann"),
        "Too many wrong passwords for ann came from your address. Try again in 60 seconds.",
    ),
    (account_errors.TooManyAccounts(), "There are too many accounts already."),
    (
        account_errors.TooManyAccounts(60),
        "Too many accounts were made from your address. Try again in 60 seconds.",
    ),
    (
        account_errors.WrongOperatorToken(),
        "That is not the token that the server printed when it started, or it has been used already.",
    ),
    (account_errors.AccountBusy(), "Another change of this account is under way. Try again in a moment."),
    (errors.NoFaults(), "Faults can be made only on a server that was started with --lab."),
    (
        qr.NoQrCode("http://h:1/#x"),
        "The address of this chat is http://h:1/#x. There is no QR code of it, because the server lacks segno."
        " Install it there: pip install '.[web]' in the folder of README.rst.",
    ),
    (errors.NoTrip("#x", 3), "There is no record of the trip of message 3 of #x."),
    (errors.NoTrip("#x", None), "There is no record of the trip of a message of #x."),
    (errors.NoTrip(None, None), "There is no record of the trip of a message."),
    (errors.TripsUnrecorded(), "This server records no trips. Start it with --lab or --trace to record them."),
    (account_errors.LoggedInAlready("kim"), "You are logged in as kim already."),
    (
        errors.NoLineEnd(),
        "The input ended before its last line did, so that was not sent. End each line with a line feed.",
    ),
    (lab.UnknownFault(), "The faults are slow NAME, pause publisher, and pause history; off ends them."),
    (lab.NotSlow(), "What is sent to that person is not slowed down."),
    (lab.FaultTooSlow(10_000), "A send can be slowed by 1 to 10000 ms; 0 ends that."),
    (lab.FaultTooLong(60.0), "A fault lasts 1 to 60 s."),
    (lab.FaultUnderWay(), "That fault is under way already."),
    (lab.NoFaultUnderWay(), "No fault is under way."),
    (lab.FaultWithoutThread(), "No thread could be started for that."),
    (errors.UnknownToken(), "Unknown or expired token. Enter a name instead."),
    (
        errors.TooManyTokens(0.2),
        "Too many tokens were handed out to your address. Ask again in 1 seconds.",
    ),
    (errors.BadJson("it is not"), "That line was not understood: it is not."),
    (errors.BadRequest("say needs text."), "say needs text."),
    (errors.UnknownType("shout"), "There is no request of type 'shout'. The request \"help\" lists the types."),
    (errors.UnknownType(None), 'A request needs a field "type" with a string. The request "help" lists the types.'),
    (errors.TextTooLong(3, 2), "That is 3 characters, and a message has at most 2. Nothing was sent."),
    (errors.TooManyLines(3, 2), "That is 3 lines, and a message has at most 2. Nothing was sent."),
    (errors.WordsTooLong(3, 2), "That is 3 characters, and at most 2 are allowed here. Nothing was changed."),
    (errors.LineTooLong(9, "sent"), "A line has at most 9 bytes. Yours was longer, so it was not sent."),
    (errors.NothingToSay(), "That line has no visible characters, so it was not sent."),
    (errors.NothingToFind(), "A search needs a word with a letter, a digit or an emoji in it, or a person or a room."),
    (errors.NotStored("the disk is full"), "Not stored, so not sent: the disk is full"),
    (errors.NotStored("the disk is full", "done"), "Not stored, so not done: the disk is full"),
    (
        errors.RoomNotStored("#x", "the disk is full"),
        "#x was made, but it is not stored yet: the disk is full. The server tries again with the next message.",
    ),
    (
        errors.MaybeStored(),
        "The server does not know whether that was stored: the server's disk failed, or its files were changed."
        " Check the history after the server has restarted.",
    ),
    (
        errors.ReadOnly(),
        "The server's disk failed. No new message can be stored or shown until the server is started again.",
    ),
    (errors.Busy(), "The history is busy; please wait. If you asked for a change, it is still under way."),
    (errors.Unreadable("it is busy"), "The history cannot be read now: it is busy. Try again."),
    (errors.Broken(), "Internal server error. The server's log has the details."),
    (disconnects.NoNameInTime(60.0), "No name was given within 60 seconds. Goodbye."),
    (disconnects.TooManyTries(), "That was the last try. Connect again to try again."),
    (
        disconnects.GaveWay(),
        "The server is full, and you had given no name, so your place went to somebody else."
        " Connect again, and give your name at once.",
    ),
    (disconnects.UnfinishedLine(300.0), "You started a line and did not finish it within 300 seconds. Goodbye."),
    (disconnects.Replaced(), "You reconnected elsewhere; this connection is closed. Goodbye."),
    (disconnects.ServerFull("9 are connected"), "The server is full: 9 are connected. Try again later."),
    (
        disconnects.TooManyConnections(3),
        "There are too many connections from your address: at most 3 are allowed. Close one, then connect again.",
    ),
    (
        disconnects.NoProxyHeader(),
        "Connections from your address must begin with the PROXY protocol, and yours does not."
        " Connect through the proxy.",
    ),
    (
        disconnects.TlsOnly(),
        "This server takes only encrypted connections (TLS). Use telnet-ssl -z ssl or chat-threads-client --tls, or"
        " open its address with https:// in a browser.",
    ),
    (
        cluster.Unreached(),
        "Not stored, so not sent: the servers' common log cannot be reached",
    ),
    (
        cluster.GivenUpMeanwhile(),
        "Not stored, so not sent: the other servers could not reach this one",
    ),
    (
        cluster.Unsettled(),
        "The server does not know yet whether that was stored: the servers' common log cannot be reached. If it was,"
        " it is shown when the log can be reached again.",
    ),
    (cluster.OutOfTouch(), "The other servers could not reach this one for a while. Goodbye. Connect again."),
    (disconnects.ShuttingDown(), "The server is shutting down. Goodbye."),
    (disconnects.NotChat("This is a chat server, not SSH."), "This is a chat server, not SSH."),
]

# Only subclasses of these are raised.
FAMILIES = {errors.TooManyRooms, errors.NotAllowed, errors.BadFault, errors.TooLong, disconnects.NoHandshake}


def kinds(of: type[errors.ChatError]) -> Iterator[type[errors.ChatError]]:
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_error_is_below():
    shown = {type(error) for error, *_ in (*TYPED, *PLAIN)}
    assert shown | FAMILIES == {*kinds(errors.Told), *kinds(errors.CutOff)}


@pytest.mark.parametrize(("error", "fact", "everybodys", "typed"), TYPED)
def test_errors_for_people_say_what_to_type(error, fact, everybodys, typed):
    assert error.text == f"{fact} {everybodys}".rstrip()
    assert advice.error(events.problem(error)) == f"{fact} {typed}".rstrip()
    view = TextDialect().views.here
    shown = view.encode((events.problem(error),)).decode().replace("\r\n!   ", " ")  # as one line, however long
    assert shown == f"! {fact} {typed}".rstrip() + "\r\n"


@pytest.mark.parametrize(("error", "text"), PLAIN)
def test_all_other_errors_have_the_same_text_for_everybody(error, text):
    assert error.text == advice.error(events.problem(error)) == text


def strings(path: pathlib.Path) -> Iterator[str]:
    """The string literals of a module, except for docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    explained = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in explained:
            yield node.value


def test_no_text_for_programs_names_a_typed_command():
    typed = re.compile(r"(?<![\w/])(?:" + "|".join(map(re.escape, commands.BY_NAME)) + r")\b")
    # The table of what people type; the operator's options; what a thread does, for /threads.
    others = {
        "commands",
        "room_commands",
        "room_roles",
        "server_order",
        "sign_in",
        "usage",
        "cli",
        "announcement",
        "lab",
        "watched",
    }
    package = pathlib.Path(chat_threads.__file__).parent
    saying = [each for each in package.glob("*.py") if each.stem not in others] + [*package.glob("service/*.py")]
    assert {path.name: text for path in saying for text in strings(path) if typed.search(text)} == {}


@pytest.mark.parametrize(
    ("notice", "typed"),
    [
        (events.Notice("You are back."), "You are back."),
        (events.Notice("You are away.", next="back"), "You are away. /back ends it."),
        (
            events.Notice("#lab has 2 messages.", room="#lab", next="delete"),
            "#lab has 2 messages. /delete #lab yes deletes it for good.",
        ),
        (
            events.Notice("What bob says is hidden now.", name="bob", next="unignore"),
            "What bob says is hidden now. /unignore bob shows it again.",
        ),
        (
            events.Notice("ann stops the history for 9 s.", next="threads"),
            "ann stops the history for 9 s. /threads and /locks show it.",
        ),
        (events.Notice("From a newer server.", next="dance"), "From a newer server."),
    ],
)
def test_notices_for_people_say_what_to_type_next(notice, typed):
    assert advice.notice(notice) == typed


def test_every_request_that_a_notice_suggests_exists():
    assert {kind.row.type for kind in commands.TYPED} >= set(advice.NEXT)


def test_an_error_that_came_as_json_gets_its_advice_by_its_code():
    told = {
        events.Problem("unknown_room", "There is no room #x.", room="#x"): "/rooms lists the rooms, /join makes one.",
        events.Problem("not_in_room", "You are not in #x.", room="#x"): "/join #x goes there.",
        events.Problem("not_in_room", "You are not in a room."): "/rooms lists the rooms, and /join enters one.",
        events.Problem("room_exists", "#a looks like #b.", room="#b"): "/join #b goes there.",
        events.Problem("room_exists", refusals.ClosedRoom("#b").fact, room="#b"): "",
        events.Problem("unknown_person", "Nobody here is called x."): "/who lists who is here.",
        events.Problem("unknown_person", "Nobody is called amm. Did you mean ann?", near="ann"): "",
        events.Problem("busy", "Please wait."): "",
    }
    for problem, typed in told.items():
        assert advice.error(problem) == f"{problem.text} {typed}".rstrip()


def test_a_person_who_needs_a_password_is_not_told_what_programs_send():
    error = account_errors.PasswordNeeded("ann", "ann2")
    came = events.Problem(error.code, error.text, near="ann2")
    assert advice.error(came) == "The name ann belongs to an account. If that is you, type /login; or try ann2."


def test_the_advice_of_a_server_of_1_0_0_is_not_repeated():
    text = "The room #x exists already. /join #x goes there."
    assert advice.error(events.Problem("room_exists", text)) == text


def test_advice_that_a_server_gives_to_programs_is_said_as_it_is_typed():
    muting = refusals.NoMuting("#lab", "the owner and the operators of #lab")
    for error, typed in (
        (muting, f"{muting.fact} /ignore NAME hides from you what somebody says."),
        (
            refusals.NamesakesRoom("#lab", "ann"),
            "#lab was made by ann, under another token. If that was you, /resume TOKEN first.",
        ),
    ):
        assert advice.error(events.Problem(error.code, error.text)) == typed
