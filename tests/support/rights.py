"""Who may do what in a room: by its rules, the action, and the person's role there. See ``docs/rooms.rst``.

``python -m support.rights`` (in ``tests``) writes the tables of that page again.
"""

from __future__ import annotations

import pathlib

PEOPLE = ("stranger", "invited", "account", "member", "muted", "banned", "operator", "owner", "server")
"""The columns: "account" is a stranger who is logged in, and "server" one of the server's operators. The last three may
be in the room or not; here the operator and the owner are."""

# What happens: "yes", the code of an error, "once" if only one of two messages is taken, or "hidden" if no list shows
# the room. Under the first one, the tables have only the rows that differ from it.
TABLES = """
public
         stranger     invited      account      member       muted        banned  operator     owner  server
enter    yes          yes          yes          yes          yes          banned  yes          yes    yes
list     yes          yes          yes          yes          yes          hidden  yes          yes    yes
read     yes          yes          yes          yes          yes          banned  yes          yes    yes
say      not_in_room  not_in_room  not_in_room  yes          muted        banned  yes          yes    not_in_room
topic    not_in_room  not_in_room  not_in_room  yes          muted        banned  yes          yes    not_in_room
invite   not_in_room  not_in_room  not_in_room  yes          yes          banned  yes          yes    not_in_room
redact   not_in_room  not_in_room  not_in_room  not_allowed  not_allowed  banned  yes          yes    not_in_room
report   not_in_room  not_in_room  not_in_room  yes          yes          banned  yes          yes    not_in_room
rename   yes          yes          yes          yes          muted        yes     yes          yes    yes
govern   not_allowed  not_allowed  not_allowed  not_allowed  not_allowed  banned  yes          yes    yes
appoint  not_allowed  not_allowed  not_allowed  not_allowed  not_allowed  banned  not_allowed  yes    yes
delete   not_allowed  not_allowed  not_allowed  not_allowed  not_allowed  banned  not_allowed  yes    yes

invite-only
         stranger      invited      account       member       muted        banned  operator     owner  server
enter    invite_only   yes          invite_only   yes          yes          banned  yes          yes    yes
list     hidden        yes          hidden        yes          yes          hidden  yes          yes    yes
read     unknown_room  yes          unknown_room  yes          yes          banned  yes          yes    yes
say      unknown_room  not_in_room  unknown_room  yes          muted        banned  yes          yes    not_in_room
topic    unknown_room  not_in_room  unknown_room  yes          muted        banned  yes          yes    not_in_room
invite   unknown_room  not_in_room  unknown_room  not_allowed  not_allowed  banned  yes          yes    not_in_room
redact   unknown_room  not_in_room  unknown_room  not_allowed  not_allowed  banned  yes          yes    not_in_room
report   unknown_room  not_in_room  unknown_room  yes          yes          banned  yes          yes    not_in_room
govern   unknown_room  not_allowed  unknown_room  not_allowed  not_allowed  banned  yes          yes    yes
appoint  unknown_room  not_allowed  unknown_room  not_allowed  not_allowed  banned  not_allowed  yes    yes
delete   unknown_room  not_allowed  unknown_room  not_allowed  not_allowed  banned  not_allowed  yes    yes

quiet
        stranger     invited      account      member      muted  banned  operator  owner  server
say     not_in_room  not_in_room  not_in_room  quiet_room  muted  banned  yes       yes    not_in_room
topic   not_in_room  not_in_room  not_in_room  quiet_room  muted  banned  yes       yes    not_in_room
rename  yes          yes          yes          quiet_room  muted  yes     yes       yes    yes

slow 600
        stranger     invited      account      member    muted  banned  operator  owner  server
say     not_in_room  not_in_room  not_in_room  once      muted  banned  yes       yes    not_in_room
topic   not_in_room  not_in_room  not_in_room  too_soon  muted  banned  yes       yes    not_in_room
rename  yes          yes          yes          too_soon  muted  yes     yes       yes    yes

accounts-only
         stranger       invited        account      member         muted        banned  operator     owner  server
enter    accounts_only  accounts_only  yes          yes            yes          banned  yes          yes    yes
list     hidden         hidden         yes          yes            yes          hidden  yes          yes    yes
read     accounts_only  accounts_only  yes          yes            yes          banned  yes          yes    yes
say      accounts_only  accounts_only  not_in_room  accounts_only  muted        banned  yes          yes    not_in_room
topic    accounts_only  accounts_only  not_in_room  accounts_only  muted        banned  yes          yes    not_in_room
invite   accounts_only  accounts_only  not_in_room  yes            yes          banned  yes          yes    not_in_room
redact   accounts_only  accounts_only  not_in_room  not_allowed    not_allowed  banned  yes          yes    not_in_room
report   accounts_only  accounts_only  not_in_room  yes            yes          banned  yes          yes    not_in_room
govern   accounts_only  accounts_only  not_allowed  not_allowed    not_allowed  banned  yes          yes    yes
appoint  accounts_only  accounts_only  not_allowed  not_allowed    not_allowed  banned  not_allowed  yes    yes
delete   accounts_only  accounts_only  not_allowed  not_allowed    not_allowed  banned  not_allowed  yes    yes

unlisted
      stranger  invited  account  member  muted  banned  operator  owner  server
list  hidden    hidden   hidden   yes     yes    hidden  yes       yes    yes
"""

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "rooms.rst"
MARK = ".. rights\n\n"  # after it, the tables follow

Cells = dict[tuple[str, str, str], str]


def cells() -> Cells:
    """What happens, by the rule, the action and the person."""
    found: Cells = {}
    for block in TABLES.strip().split("\n\n"):
        rule, people, *rows = block.splitlines()
        assert tuple(people.split()) == PEOPLE
        first = {key[1:]: outcome for key, outcome in found.items() if key[0] == RULES[0]}
        found |= {(rule, *key): outcome for key, outcome in first.items()}
        for action, *outcomes in map(str.split, rows):
            found |= {(rule, action, person): each for person, each in zip(PEOPLE, outcomes, strict=True)}
    return found


RULES = tuple(block.partition("\n")[0] for block in TABLES.strip().split("\n\n"))


def page(before: str) -> str:
    """The page ``before``, with the tables as they are here."""
    text = before.partition(MARK)[0] + MARK
    for rule, block in zip(RULES, TABLES.strip().split("\n\n"), strict=True):
        text += f"``/room {rule}``::\n\n" + "".join(f"    {line}\n" for line in block.splitlines()[1:]) + "\n"
    return text.rstrip("\n") + "\n"


if __name__ == "__main__":
    DOCS.write_text(page(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
