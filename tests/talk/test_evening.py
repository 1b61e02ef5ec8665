"""An evening of three people in real terminals, step by step, with what each of them sees."""

from __future__ import annotations

import pytest
from support.servers import needs

from chat_threads.dialects import screen as drawing
from chat_threads.service import screen as service

pytestmark = pytest.mark.slow


def test_an_evening_of_three_people_in_real_terminals_looks_as_expected(server, tmux, screen, monkeypatch):
    monkeypatch.setattr(service, "REFRESH", 0.1)
    monkeypatch.setattr(drawing, "_moment", lambda took: 0.0)  # nobody speaks while a window changes
    port = str(server.port)

    # 1: ann comes by telnet, in a terminal of 80 by 24.
    ann = tmux(needs("telnet"), "127.0.0.1", port, columns=80, rows=24)
    ann.expect("What is")
    ann.enter("ann")
    ann.expect("You are in")
    ann.enter("/edit on")
    ann.shows("""
        * Hello, ann. What is said in a room is kept: /history shows it.
        * Over telnet, /edit on keeps your line whole while others talk; see /help edit.
        * It is Monday, 1 January 2024. Times are in UTC.
        * You are in #lobby, and nobody else is. /help lists the commands.
        /edit on
        * Your program is asked to send each key as you press it.
        * Your line stays whole now. Tab completes, Up goes back, /edit off ends it.
        > ▮
         ann  #lobby  1 person
    """)

    # 2: sue comes by plink, in one of 40 by 20. It has shown that it speaks telnet, and is offered what ann has.
    sue = tmux(needs("plink"), "-telnet", "-batch", "-P", port, "127.0.0.1", columns=40, rows=20)
    sue.expect("What is")
    sue.enter("sue")
    sue.expect(r"edit\.$")
    sue.enter("/edit on")
    sue.shows("""
        * You are in #lobby with 1 other: ann.
        *   /help lists the commands.
        * Over telnet, /edit on keeps your line
        *   whole while others talk; see /help
        *   edit.
        /edit on
        * Your program is asked to send each key
        *   as you press it.
        * Your line stays whole now. Tab
        *   completes, Up goes back, /edit off
        *   ends it.
        > ▮
         sue  #lobby  2 people
    """)
    ann.shows("""
        * sue joined
        > ▮
         ann  #lobby  2 people
    """)

    # 3: cy comes with the terminal client, in one of 200 by 50.
    cy = screen(server, "cy", columns=200, rows=50)
    cy.shows("""
        * Hello, cy. What is said in a room is kept: /history shows it.
        * It is Monday, 1 January 2024. Times are in UTC.
        * You are in #lobby with 2 others: ann, sue. /help lists the commands.
        > ▮
         cy   #lobby   3 people   connected
    """)

    # 4: the others talk while ann edits in the middle of a line.
    ann.type("why does my qeue get full")
    ann.keys(*["Left"] * 12)
    cy.enter("has anybody an idea about exercise 3, in which the readers must not wait for the writers?")
    sue.expect("writers")
    sue.enter("not me")
    ann.shows("""
        * sue joined
        * cy joined
        [12:34] cy: has anybody an idea about exercise 3, in which the readers must not
          | wait for the writers?
        [12:34] sue: not me
        > why does my q▮eue get full
         ann  #lobby  3 people
    """)
    ann.type("u")
    ann.keys("Enter")
    sue.shows("""
        * cy joined
        [12:34] cy: has anybody an idea about
          | exercise 3, in which the readers
          | must not wait for the writers?
        [12:34] sue: not me
        [12:34] ann: why does my queue get full
        > ▮
         sue  #lobby  3 people
    """)

    # 5: Tab completes a name and a command.
    sue.type("a")
    sue.keys("Tab")
    sue.expect("^> ann:")
    sue.type("it is bounded")
    sue.keys("Enter")
    cy.expect("it is bounded")
    ann.type("/to")
    ann.keys("Tab")
    ann.shows("""
        [12:34] sue: ann: it is bounded
        > /topic ▮
         ann  #lobby  3 people
    """)
    ann.enter("queues and locks")
    cy.shows("""
        [12:34] cy: has anybody an idea about exercise 3, in which the readers must not wait for the writers?
        [12:34] sue: not me
        [12:34] ann: why does my queue get full
        [12:34] sue: ann: it is bounded
        * ann set the topic of #lobby: queues and locks
        > ▮
         cy   #lobby   3 people   connected
    """)

    # 6: Up brings back what was typed, and Down the unfinished line.
    ann.type("not yet")
    ann.keys("Up", "Up", "Home")
    ann.type("so ")
    ann.shows("""
        * ann set the topic of #lobby: queues and locks
        > so ▮why does my queue get full
         ann  #lobby  3 people
    """)
    ann.keys("Down", "Down")
    ann.shows("""
        * ann set the topic of #lobby: queues and locks
        > not yet▮
         ann  #lobby  3 people
    """)
    ann.keys("C-c")

    # 7: private lines.
    sue.enter("/msg ann psst")
    ann.expect("psst")
    ann.enter("/reply yes?")
    ann.shows("""
        * ann set the topic of #lobby: queues and locks
        [12:34] sue -> you: psst
        [12:34] you -> sue: yes?
        > ▮
         ann  #lobby  3 people
    """)

    # 8: a line that is longer than the window scrolls sideways.
    sue.type("one two three four five six seven eight nine ten")
    sue.shows("""
        [12:34] ann -> you: yes?
        > <ive six seven eight nine ten▮
         sue  #lobby  3 people
    """)
    sue.keys(*["M-b"] * 6)
    sue.shows("""
        [12:34] ann -> you: yes?
        > one two three four ▮five six seven ei>
         sue  #lobby  3 people
    """)
    sue.keys("Enter")
    ann.shows("""
        [12:34] you -> sue: yes?
        [12:34] sue: one two three four five six seven eight nine ten
        > ▮
         ann  #lobby  3 people
    """)

    # 9: wide letters, and letters of several characters.
    cy.enter("王雷 says 你好")
    ann.expect("王雷 says")
    ann.type("你好王雷 กำ e\u0301!")
    ann.keys("Left", "Left", "BSpace", "C-a", "Right", "Right")
    ann.shows("""
        [12:34] cy: 王雷 says 你好
        > 你好▮王雷 กำé!
         ann  #lobby  3 people
    """)
    ann.keys("Enter")
    sue.shows("""
        [12:34] sue: one two three four five six
          | seven eight nine ten
        [12:34] cy: 王雷 says 你好
        [12:34] ann: 你好王雷 กำé!
        > ▮
         sue  #lobby  3 people
    """)

    # 10: what is pasted is shown first; a command in it takes all of it.
    ann.paste("\n/msg sue one\ntwo\n")
    ann.shows("""
        [12:34] ann: 你好王雷 กำé!
        > ↵/msg sue one↵two↵▮
         ann  #lobby  3 people
    """)
    ann.keys("Enter")
    sue.shows("""
        [12:34] ann: 你好王雷 กำé!
        [12:34] ann -> you: one
          | two
        > ▮
         sue  #lobby  3 people
    """)
    ann.paste("while True:\n\tx = q.get()")
    ann.keys("Enter")
    sue.shows("""
        [12:34] ann: while True:
          |     x = q.get()
        > ▮
         sue  #lobby  3 people
    """)

    # 11: other windows.
    ann.type("half a line")
    ann.resize(60, 20)
    ann.shows("""
        [12:34] sue: one two three four five six seven eight nine te
        n
        [12:34] cy: 王雷 says 你好
        [12:34] ann: 你好王雷 กำé!
        [12:34] you -> sue: one
          | two
        [12:34] ann: while True:
          |     x = q.get()
        > half a line▮
         ann  #lobby  3 people
    """)
    cy.resize(100, 30)
    cy.shows("""
        [12:34] ann: while True:
          |     x = q.get()
        > ▮
         cy   #lobby   3 people   connected
    """)
    cy.enter("did your windows change?")
    cy.shows("""
        [12:34] sue: not me
        [12:34] ann: why does my queue get full
        [12:34] sue: ann: it is bounded
        * ann set the topic of #lobby: queues and locks
        [12:34] sue: one two three four five six seven eight nine ten
        [12:34] cy: 王雷 says 你好
        [12:34] ann: 你好王雷 กำé!
        [12:34] ann: while True:
          |     x = q.get()
        [12:34] cy: did your windows change?
        > ▮
         cy   #lobby   3 people   connected
    """)
    ann.shows("""
        [12:34] ann: while True:
          |     x = q.get()
        [12:34] cy: did your windows change?
        > half a line▮
         ann  #lobby  3 people
    """)
    ann.keys("C-u")

    # 12: another room; the status line shows where something was said meanwhile.
    sue.enter("/join #lab2")
    sue.expect("nobody else is")
    cy.enter("hello again")
    sue.expect("hello again")
    sue.enter("/who")
    sue.shows("""
        * You are in #lab2, and nobody else is.
        [12:34] #lobby cy: hello again
        > /who
        * name    rooms           idle  away
        * ------  ------------  ------  ------
        * ann     #lobby            0s
        * cy      #lobby            0s
        * sue     #lobby #lab2      0s
        > ▮
         sue  #lab2  1 person  new in #lobby
    """)

    # The end: every terminal is as it was before.
    ann.enter("/edit off")
    ann.shows("""
        [12:34] cy: hello again
        > /edit off
        * Your program sends whole lines again.
        ▮
    """)
    sue.enter("/quit good night")
    sue.shows("""
        [12:34] #lobby cy: hello again
        > /who
        * name    rooms           idle  away
        * ------  ------------  ------  ------
        * ann     #lobby            0s
        * cy      #lobby            0s
        * sue     #lobby #lab2      0s
        > /quit good night
        * Goodbye.
        ended with 0
        ▮
    """)
    cy.expect("good night")
    cy.enter("/quit")
    cy.shows("""
        [12:34] cy: hello again
        * sue left (good night)
        > /quit
        * Goodbye.
        ended with 0
        ▮
    """)
    ann.expect("cy left")
    ann.enter("a whole line")
    ann.expect("ann: a whole line")
    ann.enter("/quit")
    ann.shows("""
        * sue left (good night)
        * cy left
        a whole line
        [12:34] ann: a whole line
        /quit
        * Goodbye.
        Connection closed by foreign host.
        ended with 0
        ▮
    """)
