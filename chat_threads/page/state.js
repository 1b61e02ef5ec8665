"use strict";
// What is known: the rooms with their rows, the people, and which row comes next. Pure data, without a page: the server's
// objects go in, and what is shown is read from here.

const MOST_ROWS = 1000; // in a room; beyond that, rows at the far end are dropped, and loaded again when needed
const MOST_PRIVATE = 200; // private lines of a conversation that survive a reload: the server keeps none
const AGAIN = 40; // messages of each room that a reloaded page asks for once more, to fill the screen

// The form in which two spellings of a name or a room are equal; nearly the server's (rules.fold).
function fold(name) {
  return name.normalize("NFKC").toLowerCase();
}

// A function that says whether a text has this name as a word. Without lookbehind, which older Safaris lack.
function mentionOf(name) {
  const escaped = name.replace(/[.*+?^${}()|[\]\\-]/g, "\\$&").replace(/\\-/g, "-");
  const found = new RegExp(`(^|[^\\p{L}\\p{M}\\p{N}_])${escaped}(?![\\p{L}\\p{M}\\p{N}_])`, "iu");
  return (text) => found.test(text);
}

let rowsMade = 0;

function newRow(fields) {
  rowsMade += 1;
  return { id: `r${rowsMade}`, ...fields };
}

// A row for a reloaded page, which numbers its rows anew.
function nameless({ id, ...row }) {
  return row;
}

// A room, or a private conversation with the person `peer`.
class Room {
  constructor(name, peer = "") {
    this.name = name;
    this.peer = peer;
    this.topic = "";
    this.people = new Map(); // by folded name: { name, away, idle }
    this.count = 0; // how many people are there, with us
    this.rows = []; // in order: messages (with a number) and notes, a part of the room's history without a gap
    this.last = 0; // the number of the newest message that came
    this.read = 0; // the number of the newest message that was on the screen
    this.divider = 0; // the number after which the unread messages began when the room was opened
    this.unread = 0;
    this.mentions = 0;
    this.attached = true; // whether the rows reach to the newest message
    this.loading = ""; // "before", "after", "around" or "newest" while a part of the history is on its way
    this.draft = "";
  }

  get first() {
    const found = this.rows.find((row) => row.number);
    return found ? found.number : 0;
  }

  get end() {
    for (let at = this.rows.length - 1; at >= 0; at -= 1) if (this.rows[at].number) return this.rows[at].number;
    return 0;
  }

  // Drop rows at the start or at the end, so that the page stays fast.
  trim(start) {
    const over = this.rows.length - MOST_ROWS;
    if (over <= 0) return;
    if (start) {
      this.rows.splice(0, over);
    } else {
      this.rows.splice(-over);
      this.attached = this.attached && this.peer !== "";
    }
  }

  clear() {
    this.rows = [];
    this.last = this.read = this.divider = this.unread = this.mentions = 0;
    this.attached = true;
  }
}

class Chat {
  constructor() {
    this.name = "";
    this.token = "";
    this.rooms = new Map(); // by folded name; private conversations by "@" and the folded name
    this.shown = null; // the Room on the screen
    this.current = null; // the name of the server's current room, which only /trace still goes by
    this.replay = 50;
    this.limits = { text: 2000, words: 200, refs: 256 };
    this.away = null; // our own reason, or null
    this.ignored = new Map(); // by person: the name
    this.known = []; // rooms that the server has listed
    this.listed = false;
    this.mentioned = () => false;
  }

  call(name) {
    this.name = name;
    this.mentioned = mentionOf(name);
  }

  room(name) {
    return this.rooms.get(fold(name));
  }

  get joined() {
    return [...this.rooms.values()].filter((room) => !room.peer);
  }

  // The private conversation with somebody; it begins if there is none.
  privately(name) {
    const key = "@" + fold(name);
    if (!this.rooms.has(key)) this.rooms.set(key, new Room(name, name));
    return this.rooms.get(key);
  }

  // The hello of a connection: with the token if there is one, and the rooms with the newest numbers that were seen.
  hello(first) {
    const hello = { type: "hello", replay: this.replay };
    if (this.token) hello.token = this.token;
    else hello.name = this.name;
    const since = {};
    for (const room of this.joined) since[room.name] = room.rows.length ? room.last : Math.max(0, room.last - AGAIN);
    if (Object.keys(since).length) hello.since = since;
    if (this.shown && !this.shown.peer) hello.room = this.shown.name;
    else if (first && !hello.since) hello.room = first;
    return hello;
  }

  // --- what a reload keeps ------------------------------------------------------------------------------------

  kept() {
    return {
      name: this.name,
      token: this.token,
      away: this.away,
      ignored: [...this.ignored],
      shown: this.shown ? [this.shown.name, this.shown.peer] : null,
      rooms: this.joined.map((room) => [room.name, room.last, room.read]),
      drafts: [...this.rooms].filter(([, room]) => room.draft).map(([key, room]) => [key, room.draft]),
      privates: [...this.rooms.values()]
        .filter((room) => room.peer)
        .map((room) => [room.peer, room.rows.filter((row) => row.kind === "message").slice(-MOST_PRIVATE).map(nameless)]),
    };
  }

  restore(kept) {
    this.call(kept.name);
    this.token = kept.token;
    this.away = kept.away;
    this.ignored = new Map(kept.ignored);
    for (const [name, last, read] of kept.rooms) {
      const room = new Room(name);
      room.last = last;
      room.read = read;
      this.rooms.set(fold(name), room);
    }
    for (const [peer, rows] of kept.privates) {
      this.privately(peer).rows = rows.map((row) => newRow(row));
    }
    for (const [key, draft] of kept.drafts) if (this.rooms.has(key)) this.rooms.get(key).draft = draft;
    if (kept.shown) this.shown = this.rooms.get((kept.shown[1] ? "@" : "") + fold(kept.shown[0])) || null;
  }

  // --- rows ---------------------------------------------------------------------------------------------------

  // A line of the page's own in a room: a notice, an error, somebody who came, an answer.
  note(room, fields) {
    if (!room) return;
    const last = room.rows[room.rows.length - 1];
    if (fields.names && last && last.names && last.event === fields.event) {
      last.names = [...new Set([...last.names, ...fields.names])]; // a class that comes in is one line, not thirty
      last.changed = (last.changed || 0) + 1;
      return;
    }
    room.rows.push(newRow({ kind: "note", at: Date.now(), ...fields }));
    if (room.attached) room.trim(true);
  }

  rowOf(message) {
    const mine = message.from === this.name;
    return newRow({
      kind: "message",
      number: message.number,
      at: Date.parse(message.at),
      from: message.from,
      action: message.kind === "action",
      text: message.text,
      mine,
      mention: !mine && this.mentioned(message.text),
    });
  }

  // --- what comes ---------------------------------------------------------------------------------------------

  // Take in one of the server's objects. `waiting` are the outbox's items, so that a message of ours takes the place of
  // its waiting row. Objects that only answer somebody's question are left to the caller.
  take(event, waiting) {
    const does = TAKES[event.type];
    if (does) does(this, event, waiting || []);
  }

  leave(room, current) {
    this.rooms.delete(fold(room));
    this.current = current;
    if (this.shown && !this.shown.peer && fold(this.shown.name) === fold(room)) {
      this.shown = (current && this.room(current)) || this.joined[0] || null;
    }
  }

  // A part of a room's history, which was asked for with `loading`. Returns whether it belongs to what is shown.
  page(room, event) {
    const asked = room.loading;
    room.loading = "";
    const rows = event.messages.map((each) => this.rowOf(each));
    if (asked === "before") {
      const older = rows.filter((row) => !room.first || row.number < room.first);
      if (!older.length && room.rows.length) room.rows[0].nothingBefore = true;
      room.rows.unshift(...older);
      room.trim(false);
    } else if (asked === "after") {
      room.rows.push(...rows.filter((row) => row.number > room.end));
      room.attached = room.end >= room.last || !rows.length;
      room.last = Math.max(room.last, room.end);
      room.trim(true);
    } else {
      room.rows = rows.concat(asked === "newest" ? room.rows.filter((row) => row.kind === "note") : []);
      room.attached = room.end >= room.last || event.after === null;
      if (room.attached) room.last = Math.max(room.last, room.end);
    }
  }
}

// A waiting line of ours that this message is: the row keeps its place on the screen and becomes firm.
function claim(row, waiting, matches) {
  const item = waiting.find((each) => !each.came && matches(each.request) && each.state === "sent");
  if (item) {
    item.came = true;
    row.id = item.ref;
  }
}

const TAKES = {
  welcome(chat, event) {
    chat.call(event.name);
    chat.token = event.token;
    chat.limits = { ...chat.limits, ...event.limits };
  },

  token(chat, event) {
    chat.token = event.token;
  },

  joined(chat, event) {
    let room = chat.room(event.room);
    if (!room) {
      room = new Room(event.room);
      room.read = event.last; // what was said before we came is not unread
      chat.rooms.set(fold(event.room), room);
    } else if (event.last < room.last) {
      room.clear(); // another room of the same name
    }
    room.read = Math.min(room.read, event.last);
    room.name = event.room;
    room.topic = event.topic;
    room.count = event.count + 1;
    room.people = new Map(event.people.map((name) => [fold(name), { name, away: null }]));
    room.people.set(fold(chat.name), { name: chat.name, away: chat.away });
    chat.current = event.room;
    if (!chat.shown) chat.shown = room;
  },

  message(chat, event, waiting) {
    let room = chat.room(event.room);
    if (!room) {
      room = new Room(event.room); // what we missed comes before `joined`
      chat.rooms.set(fold(event.room), room);
    }
    if (room.rows.length && event.number <= (room.attached ? room.end : room.last)) return; // we have it
    const row = chat.rowOf(event);
    if (row.mine) {
      const type = row.action ? "action" : "say";
      claim(row, waiting, (request) =>
        request.type === type && request.text.trim() === row.text.trim() && fold(request.room) === fold(event.room));
    }
    room.last = Math.max(room.last, event.number);
    if (room.attached) {
      room.rows.push(row);
      room.trim(true);
    }
    if (!row.mine && event.number > room.read) {
      room.unread += 1;
      if (row.mention) room.mentions += 1;
    }
  },

  private(chat, event, waiting) {
    const mine = event.from === chat.name;
    const room = chat.privately(mine ? event.to : event.from);
    const row = newRow({ kind: "message", at: Date.parse(event.at), from: event.from, text: event.text, mine });
    if (mine) claim(row, waiting, (request) => request.ref === event.ref);
    room.rows.push(row);
    room.trim(true);
    if (!mine) {
      room.unread += 1;
      room.mentions += 1;
    }
  },

  presence(chat, event) {
    if (event.kind === "renamed") {
      const [old, now] = [fold(event.old), fold(event.new)];
      for (const [key, room] of [...chat.rooms]) {
        const person = room.people.get(old);
        if (person) {
          room.people.delete(old);
          room.people.set(now, { ...person, name: event.new });
          chat.note(room, { tone: "quiet", text: `${event.old} is ${event.new} now.`, presence: true });
        }
        if (room.peer && key === "@" + old) {
          chat.rooms.delete(key);
          room.name = room.peer = event.new;
          chat.rooms.set("@" + now, room);
        }
      }
      return;
    }
    const room = chat.room(event.room);
    if (!room) return;
    for (const name of event.names) {
      if (event.kind === "joined") room.people.set(fold(name), { name, away: null });
      else room.people.delete(fold(name));
    }
    room.count = Math.max(1, room.count + event.names.length * (event.kind === "joined" ? 1 : -1));
    const words = event.words ? ` (${event.words})` : "";
    if (words) chat.note(room, { tone: "quiet", text: `${event.names.join(", ")} left${words}`, presence: true });
    else chat.note(room, { tone: "quiet", event: event.kind, names: event.names, presence: true });
  },

  topic(chat, event) {
    const room = chat.room(event.room);
    if (room) room.topic = event.topic;
    if (!event.by) return; // the answer to a question
    const text = event.topic ? `${event.by} set the topic: ${event.topic}` : `${event.by} removed the topic.`;
    chat.note(room, { tone: "quiet", text });
  },

  who(chat, event) {
    const room = event.room && chat.room(event.room);
    if (!room) return;
    room.people = new Map(event.people.map((each) => [fold(each.name), each]));
    room.count = event.people.length + event.more;
  },

  rooms(chat, event) {
    chat.known = event.rooms;
    chat.listed = true;
    for (const each of event.rooms) {
      const room = chat.room(each.room);
      if (room) [room.count, room.topic] = [each.people, each.topic];
    }
  },

  left(chat, event) {
    chat.leave(event.room, event.current);
  },

  current(chat, event) {
    chat.current = event.room;
  },

  deleted(chat, event) {
    chat.leave(event.room, event.current);
    chat.note(chat.shown, { text: `${event.by} deleted ${event.room} and its history.` });
  },

  invited(chat, event) {
    const actions = [{ label: `Join ${event.room}`, line: `/join ${event.room}` }];
    chat.note(chat.shown, { text: `${event.by} invites you to ${event.room}.`, actions });
  },
};
