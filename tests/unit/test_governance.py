"""The rules of a room as values: who may do what, how much fits, and how it is stored."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support.samples import for_each

from chat_threads import changes, refusals
from chat_threads.changes import Appoint, Asked, Change, Dismiss, Invite, Lifted, Sanctioned, Set
from chat_threads.errors import ChatError
from chat_threads.governance import Governance, Rank, Sanction, Sanctions, Somebody, Spoken, governed, read_setting

OWNER, OPERATOR, MEMBER, OTHER = (Somebody(number, name) for number, name in enumerate(("ann", "bob", "cy", "dan"), 1))
SERVER = Somebody(9, "root", account=True, operator=True, address="192.0.2.9")
ROOM = Governance(1, operators={2: "bob"})
NOW = 1_700_000_000_000


def asked(by: Somebody, before: Governance = ROOM, at: int = NOW) -> Asked:
    return Asked("#lab", by, before.rank(by), at)


def after(change: Change, by: Somebody = OWNER, before: Governance = ROOM, at: int = NOW) -> Governance:
    return change.applied(before, asked(by, before, at))


def refused(change: Change, by: Somebody, before: Governance = ROOM) -> type[ChatError]:
    with pytest.raises(ChatError) as caught:
        after(change, by, before)
    return type(caught.value)


@for_each(
    ("change", "least"),
    [
        (Set("quiet"), Rank.OPERATOR),
        (Invite(OTHER), Rank.OPERATOR),
        (Sanctioned("ban", MEMBER), Rank.OPERATOR),
        (Sanctioned("kick", MEMBER), Rank.OPERATOR),
        (Sanctioned("mute", OPERATOR), Rank.OWNER),
        (Sanctioned("ban", OWNER), Rank.SERVER),
        (Sanctioned("ban", replace(MEMBER, address="192.0.2.3"), by_address=True), Rank.SERVER),
        (Appoint(MEMBER), Rank.OWNER),
        (Dismiss(OPERATOR), Rank.OPERATOR),  # bob himself
        (Dismiss(Somebody(0, "BOB")), Rank.OPERATOR),  # by his name
        (Lifted("unban", OTHER), Rank.OPERATOR),
    ],
)
def test_each_change_needs_a_rank_and_higher_ones_may_make_it_too(change, least):
    before = replace(ROOM, bans=Sanctions((Sanction(4, "dan", None, "ann"),)))
    for person in (MEMBER, OPERATOR, OWNER, SERVER):
        if before.rank(person) >= least:
            assert after(change, person, before) != before
        else:
            assert issubclass(refused(change, person, before), refusals.NotAllowed)
    assert refused(Sanctioned("ban", SERVER), SERVER) is refusals.Protected


def test_the_rules_of_a_room_are_stored_and_read_again():
    rules = ROOM
    for change in (
        Set("slow 10"), Set("invite-only", ((3, "cy"),)), Set("keep 30"), Set("unlisted"), Set("accounts-only"),
        Set("quiet"), Sanctioned("ban", OTHER, 60, "r\u00fcde"), Sanctioned("mute", MEMBER), Appoint(MEMBER),
    ):  # fmt: skip
        rules = after(change, before=rules)
    rules = after(Sanctioned("ban", Somebody(7, "eve", address="2001:db8::1"), None, "", True), SERVER, rules)
    assert Governance.read(rules.text(), 1) == rules
    assert rules.bans[-1].network == "2001:db8::/64"
    for setting in ("slow off", "public", "keep all", "listed", "everybody", "open"):
        rules = after(Set(setting), before=rules)
    rules = replace(rules, operators={}, invited={}, bans=Sanctions(), mutes=Sanctions())
    assert not rules.is_stored
    assert rules.text() == ""


def test_a_text_that_is_not_understood_closes_the_room_and_an_unknown_setting_is_left_out():
    class Room:
        id, owner = 5, 1

    newer = json.loads(ROOM.text())
    newer["settings"].append("painted pink")
    assert governed([Room()], {5: json.dumps(newer)}) == {5: ROOM}
    for text in ("", "[]", "{}", '{"settings":[],"operators":[],"invited":[],"bans":[[1]],"mutes":[]}'):
        (rules,) = governed([Room()], {5: text, 6: text}).values()
        assert type(rules.entering("#lab", MEMBER, NOW)) is refusals.InviteOnly
        assert rules.entering("#lab", OWNER, NOW) is None


def test_the_lists_are_bounded_and_what_has_ended_makes_room(monkeypatch):
    for limit in ("OPERATORS", "SANCTIONS", "KICKS", "INVITED"):
        monkeypatch.setattr(changes, limit, 2)
    dan, eve, fay = (Somebody(number, name) for number, name in ((4, "dan"), (5, "eve"), (6, "fay")))
    full = after(Appoint(dan))
    assert refused(Appoint(eve), OWNER, full) is refusals.ListFull
    full = after(Sanctioned("ban", eve, 60), before=after(Sanctioned("ban", dan)))
    assert refused(Sanctioned("ban", fay), OWNER, full) is refusals.ListFull
    assert [each.name for each in after(Sanctioned("ban", eve), before=full).bans] == ["dan", "eve"]
    later = after(Sanctioned("ban", fay), before=full, at=NOW + 60_000)
    assert [each.name for each in later.bans] == ["dan", "fay"]
    for name in ("gus", "hal", "ida"):  # a kick finds room always
        full = after(Sanctioned("kick", Somebody(len(full.bans) + 9, name)), before=full)
    assert [each.name for each in full.bans] == ["dan", "eve", "hal", "ida"]
    closed = after(Set("invite-only", tuple((number, "x") for number in range(9))))
    assert len(closed.invited) == 2
    assert after(Set("public"), before=closed).invited == {}


def test_a_ban_is_for_the_person_and_the_name_also_if_somebody_registers_it():
    rules = after(Sanctioned("ban", OTHER, 60))
    for person, out in (
        (OTHER, True), (Somebody(4, "zoe"), True), (Somebody(7, "DAN"), True),
        (Somebody(7, "dan", account=True), True), (Somebody(7, "dana"), False),
    ):  # fmt: skip
        assert (rules.banned(person, NOW) is not None) == out
        assert rules.banned(person, NOW + 60_000) is None
    assert refused(Lifted("unban", Somebody(7, "eve")), OWNER, rules) is refusals.NotListed
    assert after(Lifted("unban", Somebody(4, "zoe")), before=rules).bans == ()
    assert refused(Sanctioned("kick", Somebody(4, "zoe")), OWNER, rules) is refusals.NotThere


def test_an_account_that_ends_bans_no_other_account_by_a_name_that_it_had():
    mallory = Somebody(4, "bob", account=True)
    rules = after(Sanctioned("ban", mallory))
    assert rules.without_account(4, "mallory") is None
    freed = rules.without_account(4, "BOB")
    assert freed is not None
    for person in (Somebody(7, "bob", account=True), Somebody(4, "mallory"), Somebody(8, "bob")):
        assert freed.banned(person, NOW) is not None
        assert (rules.banned(person, NOW) is None) == (person.identity == 7)


@for_each("kind", ["ban", "kick", "mute"])
def test_what_holds_for_somebody_else_stays_if_another_person_of_that_name_is_banned_or_muted(kind):
    dan, later = Somebody(4, "dan", account=True), Somebody(7, "dan", account=True)
    rules = after(
        Sanctioned(kind, later, 60), before=after(Sanctioned("ban", dan), before=after(Sanctioned("mute", dan)))
    )
    elsewhere = Somebody(4, "zoe", account=True)
    assert rules.banned(elsewhere, NOW + 60_000) is not None
    assert rules.muted(elsewhere, NOW + 60_000) is not None
    assert (rules.muted if kind == "mute" else rules.banned)(later, NOW) is not None
    for known in (Somebody(0, "DAN"), dan):  # somebody of whom only the name is known is the one who was banned
        (once, *_) = [each for each in after(Sanctioned("ban", known, 5), before=rules).bans if each.identity == 4]
        assert once.until == NOW + 5000
    assert after(Lifted("unban", Somebody(0, "dan")), before=rules).bans == ()


def test_only_the_servers_operators_undo_what_one_of_them_did():
    rules = after(Sanctioned("ban", OTHER), SERVER)
    for change in (Lifted("unban", OTHER), Sanctioned("ban", OTHER, 1)):  # neither lifted nor made shorter
        assert refused(change, OWNER, rules) is refusals.NotServerOperator
    assert not after(Lifted("unban", OTHER), SERVER, rules).bans


def test_what_the_servers_operators_did_binds_nobody_once_it_has_ended():
    rules, later = after(Sanctioned("kick", OTHER), SERVER), NOW + 1000 * changes.KICKED
    for person in (OTHER, MEMBER):
        assert [each.name for each in after(Sanctioned("ban", person), OWNER, rules, later).bans] == [person.name]
    with pytest.raises(refusals.NotListed):
        after(Lifted("unban", MEMBER), OWNER, rules, later)


def test_only_the_servers_operators_learn_that_somebody_is_banned_with_anothers_address():
    rules = after(Sanctioned("ban", replace(OTHER, address="192.0.2.3"), by_address=True), SERVER)
    neighbour = Lifted("unban", replace(MEMBER, address="192.0.2.3"))
    assert refused(neighbour, SERVER, rules) is refusals.ListedAddress
    assert refused(neighbour, OWNER, rules) is refusals.NotListed


def test_the_address_of_somebody_who_is_away_cannot_be_banned():
    assert refused(Sanctioned("ban", MEMBER, by_address=True), SERVER) is refusals.NoAddress


@for_each("typed", ["", "slow", "slow x", "slow 3601", "slow -1", "keep 0", "keep", "slow \u0664", "pink"])
def test_a_setting_that_does_not_exist_is_refused_with_one_that_does(typed):
    with pytest.raises(refusals.BadSetting) as caught:
        read_setting(typed)
    assert caught.value.advice
    assert caught.value.fact.startswith(f"{typed} alone is" if typed in ("slow", "keep") else typed)


def test_a_setting_that_is_spelled_in_another_way_is_refused_with_the_one_that_is_meant():
    for spelled, meant in (
        ("invite only, invite_only, inviteonly, private, locked", "invite-only"), ("quite, quiet on, silent", "quiet"),
        ("quiet off, not quiet, unquiet, normal", "open"), ("slow 20s, slow: 20, slow20, slow mode 20", "slow 20"),
        ("slow 2 minutes, slow=2m", "slow 120"), ("no slow", "slow off"), ("accounts only, login", "accounts-only"),
        ("keep 4 weeks, keep 28d", "keep 28"), ("everyone, anyone", "everybody"), ("secret, unlist", "unlisted"),
        ("open please", "open"), ("invite-only off, publik", "public"),
    ):  # fmt: skip
        for each in spelled.split(", "):
            with pytest.raises(refusals.BadSetting) as caught:
                read_setting(each)
            assert (caught.value.near, caught.value.advice) == (meant, f"Did you mean {meant}?"), each
    for each in ("slow mode", "slow 0s", "slow 2h", "keep 0 days", "pink", "password x"):
        with pytest.raises(refusals.BadSetting) as caught:
            read_setting(each)
        assert caught.value.near is None, each
    for two, advice in (
        ("slow 5 quiet", "one at a time, first slow 5."),
        ("lab9", "A room's name begins with '#': #lab9."),
    ):
        with pytest.raises(refusals.BadSetting) as caught:
            read_setting(two)
        assert caught.value.advice.endswith(advice)
    with pytest.raises(refusals.RoomInSetting) as caught:
        read_setting("lab slow 10")
    assert (caught.value.room, caught.value.near) == ("#lab", "slow 10")


def test_slow_rooms_remember_a_bounded_number_of_people(monkeypatch):
    monkeypatch.setattr(Spoken, "MOST", 2)
    spoken = Spoken()
    for who in (1, 2, 3):
        spoken.note([(1, who)], NOW)
    assert [spoken.wait(1, 10, who, NOW) for who in (1, 2, 3)] == [0, 10, 10]  # the first one is forgotten
    assert spoken.wait(1, 10, 3, NOW + 9001) == 1
    assert spoken.wait(2, 10, 3, NOW) == spoken.wait(1, 10, 3, NOW + 10_000) == 0
    assert spoken.wait(1, 10, 3, NOW - 1) == 0  # the clock was set back
