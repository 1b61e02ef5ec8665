"""What people are told about their lines, their keys and their window."""

from __future__ import annotations

from .editing import Wish

REFUSED = "Your program sends whole lines only, so your line stays as it is."
OWN_LINE = (
    "/edit stays off: your program edits your line itself. In TinTin++, #split keeps it apart from what others say."
)
LOST_LETTER = (
    "Your telnet has lost a letter, where \ufffd stands, so nothing was sent. Erase that, and type the letter again. If"
    " it is lost again, connect again, and add -E to telnet's options."
)
CURSOR_KEYS = "Arrow keys do not work while your program sends whole lines. Over telnet, /edit on makes them work."
UNANSWERED = "/edit stays off: your program has not answered. nc never does; telnet does."
MOVED = "You are in {} now, not in {}. If your line is meant for this room, press Enter again; Ctrl-C erases it."
TOO_MANY = "Your text is {} messages long, and here you may send one in {}. Nothing was sent. Make it shorter."
SHOWN = "Your program has shown what you typed. Clear its window, so that nobody reads it there."
TOO_MUCH = "What you pasted does not fit: at most 100 lines and 8 KiB are allowed at once. Nothing was taken."
OTHER_NAME = "Nothing was typed. Type another name, or the same one again; /quit leaves."
OFFER = "Over telnet, /edit on keeps your line whole while others talk; see /help edit."

LOST = (
    "A letter has opened your telnet's own prompt, and the rest of the line is lost. Your telnet has now been asked to"
    " send all letters. Type the line again."
)
LOST_AGAIN = (
    "A letter has opened your telnet's own prompt, though it was asked to send all letters. Connect again, and add -E"
    " to its options."
)

SCROLL_BACK = "Shift-Page Up or the mouse scrolls back, or Ctrl-B [ in tmux; or use /history."
LEAVES = "Your line is empty. Another Ctrl-C leaves."
OF_KEYS: dict[object, str] = {
    Wish.STAY: LEAVES,
    Wish.FULL: "Your line is full, with 8 KiB or 100 lines; the rest was dropped.",
    Wish.REFUSED: TOO_MUCH,
    Wish.SCROLL_BACK: SCROLL_BACK,
}
