"""What somebody meant who typed a command that does not exist: a guess, or None. Pure functions, any thread."""

from __future__ import annotations

from collections.abc import Iterable

from .rules import nearest

UNLIKE = 2  # letters of difference in length, from which on a word is not like another

# The words that other chats have for the commands here.
_ELSEWHERE = {
    "away": "brb gone",
    "back": "unaway",
    "create": "add make new",
    "help": "commands cmds faq h man usage",
    "history": "backlog hist last log logs more scrollback",
    "ignore": "block silence squelch",
    "kick": "boot eject remove",
    "mute": "devoice gag shush",
    "join": "channel chan enter go goto open switch",
    "login": "auth identify logon signin",
    "me": "action do emote",
    "msg": "chat dm m message notice private send text whisper",
    "bans": "banlist mutes",
    "deop": "demote unmod",
    "op": "admin mod oper promote voice",
    "room": "accounts-only invite-only listed lock mode moderate public quiet rules slow unlisted",
    "redact": "unsay unsend",
    "nick": "alias handle name nickname rename username",
    "password": "passwd passphrase",
    "quit": "close disconnect logoff logout q signout x",
    "register": "enroll signup",
    "resume": "reconnect restore",
    "rooms": "channels chans groups ls",
    "search": "find grep",
    "set": "bell color colour config joins numbers options preferences prefs replay settings theme timestamps zone",
    "stats": "about info uptime version",
    "topic": "subject title",
    "unignore": "unblock",
    "who": "here members online people ppl",
    "whois": "finger profile whoami",
}
ELSEWHERE = {word: name for name, words in _ELSEWHERE.items() for word in words.split()}


def meant(typed: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that a word without its ``/`` was meant for.

    That is the name for it here, if another chat has the word; or the only name that begins with the word; or a name
    with a few other letters. The first letter must be the same, unless the first two are exchanged.
    """
    typed = typed.lower().strip("\"'`.,:;!?")
    if typed in ELSEWHERE:
        return ELSEWHERE[typed]
    names = list(names)
    if typed[1:] and len(typed) == 2 and typed[::-1] in names:
        return typed[::-1]
    begun = [name for name in names if len(typed) > 1 and name.startswith(typed)]
    if len(begun) == 1:
        return begun[0]
    near = nearest(typed, [name for name in names if name[1:]])
    if near is None or abs(len(near) - len(typed)) >= UNLIKE:
        return None
    return near if typed[0] == near[0] or typed[1::-1] == near[:2] else None
