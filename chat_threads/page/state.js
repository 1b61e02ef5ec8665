"use strict";
// What is known: the rooms with their rows, and the people. Pure data, without a page: the server's objects go in, and
// what is shown is read from here.

const MOST_ROWS = 1000; // in a room; beyond that, rows at the far end are dropped, and loaded again when needed
const MOST = 50; // private conversations, and names in a line about those who came
const AGAIN = 40; // messages of each room that come when the page enters, even if it has seen them

// The form in which two spellings of a name or a room are equal; nearly the server's (rules.fold).
function fold(name) {
  return name.normalize("NFKC").toLowerCase();
}

// Whether a text has this name as a word. Without lookbehind, which older Safaris lack.
function mentions(name, text) {
  const plain = name.replace(/[.]/g, "\\.");
  return new RegExp(`(^|[^\\p{L}\\p{M}\\p{N}_])${plain}(?![\\p{L}\\p{M}\\p{N}_])`, "iu").test(text);
}

// What the row of a message becomes when its text is removed.
const GONE = { kind: "message", text: "removed", look: "removed", mention: false, action: false };

let rowsMade = 0;

function newRow(fields) {
  rowsMade += 1;
  return { id: `row${rowsMade}`, ...fields };
}

// A room, or a private conversation with the person `peer`.
class Room {
  constructor(name, peer = "") {
    this.name = name;
    this.peer = peer;
    this.topic = "";
    this.people = new Map(); // by folded name: { name, away }
    this.count = 0; // how many people are there, with us
    this.rows = []; // in order: messages (with a number) and notes, a part of the room's history without a gap
    this.draft = "";
    this.empty();
  }

  // What it is called in Chat.rooms.
  get key() {
    return (this.peer && "@") + fold(this.name);
  }

  // As if nothing had been said.
  empty() {
    this.rows = [];
    this.last = 0; // the number of the newest message that came
    this.read = 0; // the number of the newest message that was on the screen
    this.divider = 0; // the number after which the unread messages began when the room was opened
    this.unread = this.mentions = 0;
    this.attached = true; // whether the rows reach to the newest message
    this.loading = ""; // "before", "after" or "around" while a part of the history is on its way
  }

  get first() {
    return (this.rows.find((row) => row.number) || { number: 0 }).number;
  }

  get end() {
    return Math.max(0, ...this.rows.slice(-MOST_ROWS).map((row) => row.number || 0));
  }

  // Drop rows at the start or at the end, so that the page stays fast.
  trim(atStart) {
    const over = this.rows.length - MOST_ROWS;
    if (over <= 0) return;
    this.rows.splice(atStart ? 0 : MOST_ROWS, over);
    if (!atStart) this.attached = false;
  }
}

class Chat {
  constructor(name = "", token = "") {
    this.name = name;
    this.token = token;
    this.rooms = new Map(); // by folded name; private conversations by "@" and the folded name
    this.shown = null; // the Room on the screen
    this.aside = new Room("", "-"); // in its place while we are in no room, so that what is told is always seen
    this.away = null; // our own reason, or null
    this.ignored = []; // of the people whom we ignore: [person, name]
    this.known = []; // names of rooms that the server has listed
    this.limits = { text: 2000, lines: 40, refs: 256 };
  }

  room(name) {
    return this.rooms.get(fold(name));
  }

  get place() {
    return this.shown || this.aside;
  }

  get joined() {
    return [...this.rooms.values()].filter((room) => !room.peer);
  }

  // The private conversation with somebody; it begins if there is none.
  privately(name) {
    return this.rooms.get("@" + fold(name)) || this.add(new Room(name, name));
  }

  add(room) {
    this.rooms.set(room.key, room);
    // Somebody may write under ever new names. Those whom we answered stay longest.
    const talks = [...this.rooms.values()].filter((each) => each.peer && each !== this.shown);
    const least = talks.find((each) => !each.rows.some((row) => row.mine)) || talks[0];
    if (talks.length > MOST) this.rooms.delete(least.key);
    return room;
  }

  // The hello of a connection: with the token if there is one, and the rooms with numbers that were seen. Some messages
  // come again: a page that was loaded again has none, and any of them may have been removed meanwhile.
  hello(first) {
    const since = this.joined.map((room) => [room.name, Math.max(0, room.last - AGAIN)]);
    const hello = { type: "hello", replay: AGAIN, ...(this.token ? { token: this.token } : { name: this.name }) };
    if (since.length) hello.since = Object.fromEntries(since);
    if (first) hello.room = first;
    else if (this.shown && !this.shown.peer) hello.room = this.shown.name;
    return hello;
  }

  // --- what a reload keeps ------------------------------------------------------------------------------------

  kept() {
    const rooms = this.joined.map(({ name, last, read, draft }) => ({ name, last, read, draft }));
    const { name, token, away, ignored, shown } = this;
    return { name, token, away, ignored, rooms, shown: shown && !shown.peer && shown.name };
  }

  restore({ rooms, shown, ...rest }) {
    Object.assign(this, rest);
    for (const each of rooms) this.add(Object.assign(new Room(each.name), each));
    this.shown = shown ? this.room(shown) : null;
  }

  // --- rows ---------------------------------------------------------------------------------------------------

  // A line of the page's own in a room: a notice, an error, somebody who came, an answer.
  note(room, fields) {
    if (!room) return;
    const last = room.rows[room.rows.length - 1];
    if (last && fields.names && last.kind === fields.kind) {
      // A class that comes in is one line, not thirty.
      last.names = [...new Set([...last.names, ...fields.names])].slice(0, MOST);
      last.changed = last.names.length;
    } else {
      room.rows.push(newRow({ kind: "note", at: Date.now(), ...fields }));
      room.trim(true);
    }
  }

  rowOf({ number, at, from, kind, text }) {
    if (kind === "removed") return newRow({ ...GONE, number, at: Date.parse(at), from });
    const mine = from === this.name;
    const mention = !mine && mentions(this.name, text);
    const action = kind === "action";
    return newRow({ kind: "message", number, at: Date.parse(at), from, text, mine, mention, action });
  }

  // A message of ours takes the place of its waiting row, which becomes firm.
  claim(row, waiting, matches) {
    const item = row.mine && waiting.find((each) => !each.came && each.state === "sent" && matches(each.request));
    if (!item) return;
    item.came = true;
    row.id = item.ref;
  }

  // Somebody else's line came.
  count(room, row, isMention) {
    if (row.mine) return;
    room.unread += 1;
    if (isMention) room.mentions += 1;
  }

  // What somebody is writing goes into no other room: with a draft, we are in none until another one is chosen.
  leave(name, current, text) {
    const room = this.room(name);
    this.rooms.delete(fold(name));
    if (room && this.shown === room) {
      this.aside.draft = room.draft;
      this.shown = (!room.draft && (this.room(current || "") || this.joined[0])) || null;
    }
    const now = this.shown ? `This is ${this.shown.name}.` : "You are in no room now.";
    this.note(this.place, { text: `${text} ${now}`, line: !this.shown && "/join #lobby" });
  }

  // A part of a room's history, as asked for with `loading`.
  page(room, { messages }) {
    const rows = messages.map((each) => this.rowOf(each));
    const { loading, first, end } = room;
    room.loading = "";
    if (loading === "before") {
      room.rows.unshift(...rows.filter((row) => !first || row.number < first));
      room.whole = !rows.length;
      room.trim(false);
      return;
    }
    if (loading === "after") room.rows.push(...rows.filter((row) => row.number > end));
    else room.rows = rows;
    room.attached = !rows.length || room.end >= room.last;
    room.last = Math.max(room.last, room.end);
    room.trim(true);
  }

  // Take in one of the server's objects. `waiting` are the outbox's items.
  take(event, waiting) {
    if (TAKES[event.type]) TAKES[event.type](this, event, waiting);
  }
}

function forget(room, number) {
  const row = room.rows.find((each) => each.number === number);
  if (row) Object.assign(row, GONE);
}

// What an operator has done.
const ruled = (chat, { room, by, text }) => by && chat.note(chat.room(room) || chat.place, { text, ruled: true });

const TAKES = {
  moderated: ruled,
  room: ruled,

  welcome: (chat, { name, token, limits }) => Object.assign(chat, { name, token, limits }),

  token: (chat, { token }) => Object.assign(chat, { token }),

  joined(chat, { room: name, topic, people, count, last }) {
    // What was said before we came is not unread.
    const room = chat.room(name) || chat.add(Object.assign(new Room(name), { read: last }));
    if (last < room.last) room.empty(); // another room of the same name
    room.people = new Map(people.map((each) => [fold(each), { name: each }]));
    room.people.set(fold(chat.name), { name: chat.name, away: chat.away });
    Object.assign(room, { name, topic, count: count + 1 });
    if (!chat.shown) chat.shown = room;
  },

  message(chat, event, waiting) {
    const room = chat.room(event.room) || chat.add(new Room(event.room)); // what we missed comes before `joined`
    if (room.rows.length && event.number <= (room.attached ? room.end : room.last)) { // we have it
      if (event.kind === "removed") forget(room, event.number);
      return;
    }
    const row = chat.rowOf(event);
    if (event.number > room.last) chat.claim(row, waiting, ({ type, room: to, text }) => // what is older waits no more
      type === event.kind && fold(to) === room.key && text.trim() === row.text.trim());
    room.last = Math.max(room.last, event.number);
    if (room.attached) room.rows.push(row);
    room.trim(true);
    if (event.number > room.read) chat.count(room, row, row.mention);
  },

  private(chat, event, waiting) {
    const row = { ...chat.rowOf(event), mention: false };
    const room = chat.privately(row.mine ? event.to : event.from);
    chat.claim(row, waiting, ({ ref }) => ref === event.ref);
    room.rows.push(row);
    room.trim(true);
    chat.count(room, row, true);
  },

  presence(chat, event) {
    if (event.kind === "renamed") {
      renamed(chat, event);
      return;
    }
    const room = chat.room(event.room);
    if (!room) return;
    const joined = event.kind === "joined";
    for (const name of event.names) {
      if (joined) room.people.set(fold(name), { name });
      else room.people.delete(fold(name));
    }
    room.count += event.names.length * (joined ? 1 : -1);
    chat.note(room, { kind: event.kind, names: event.names, text: event.words });
  },

  topic(chat, { room: name, topic, by }) {
    const room = chat.room(name);
    if (room) room.topic = topic;
    if (by) chat.note(room, { text: topic ? `${by} set the topic: ${topic}` : `${by} removed the topic.` });
  },

  redacted(chat, { room: name, number, by }) {
    const room = chat.room(name);
    if (room) forget(room, number);
    chat.note(room, { text: `${by} removed message ${number}.` });
  },

  who(chat, { room: name, people, more }) {
    const room = name && chat.room(name);
    if (!room) return;
    room.people = new Map(people.map((each) => [fold(each.name), each]));
    room.count = people.length + more;
  },

  rooms: (chat, { rooms }) => Object.assign(chat, { known: rooms.map((each) => each.room) }),

  left(chat, { room: name, current, ref }) {
    const room = chat.room(name);
    const last = room && room.rows[room.rows.length - 1];
    chat.leave(name, current, `You left ${name}.`);
    if (!ref && last?.ruled) chat.place.rows.splice(-1, 0, last); // why we had to
  },

  deleted: (chat, { room, by, current }) => chat.leave(room, current, `${by} deleted ${room} and its history.`),

  invited: (chat, { room, by }) =>
    chat.note(chat.place, { text: `${by} invites you to ${room}.`, line: `/join ${room}` }),
};

function renamed(chat, { old, new: name }) {
  for (const room of chat.rooms.values()) {
    const person = room.people.get(fold(old));
    if (!person) continue;
    room.people.delete(fold(old));
    room.people.set(fold(name), { ...person, name });
    chat.note(room, { text: `${old} is ${name} now.` });
  }
}
