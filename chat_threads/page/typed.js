"use strict";
// What people type becomes requests, as over telnet: the server sends the table of its commands with the page.
// dialects/typed.py and usage.py do the same in Python, and a test compares the two.

const NUMBER = /^[0-9]{1,15}$/;
const UNITS = { s: 1, m: 60, h: 3600, d: 86400 };
const MOST_LINES = 100; // that are said at once

function wordsOf(text) {
  return text.split(/\s+/).filter((word) => word);
}

// Commands whose words have no fixed order. Each returns the fields, or null if the words are not as the usage says.
const OWN = {
  delete(rest) {
    const [room, ...more] = wordsOf(rest);
    if (!room || more.length > 1 || (more.length && more[0] !== "yes")) return null;
    return { room, ask: !more.length };
  },

  history(rest) {
    const words = wordsOf(rest);
    const fields = words.length && words[0].startsWith("#") ? { room: words.shift() } : {};
    if (!words.length) return fields;
    if (words.length === 1 && NUMBER.test(words[0])) return { ...fields, count: Number(words[0]) };
    const span = /^([0-9]{1,9})([smhd])$/.exec(words[0]);
    if (words.length === 1 && span) return { ...fields, seconds: Number(span[1]) * UNITS[span[2]] };
    if (words.length === 2 && ["before", "after"].includes(words[0]) && NUMBER.test(words[1])) {
      return { ...fields, [words[0]]: Number(words[1]) };
    }
    return null;
  },

  search(rest) {
    const fields = {};
    const words = [];
    for (const word of wordsOf(rest)) {
      if (word.startsWith("in:") && word.length > 3) fields.room = word.slice(3);
      else if (word.startsWith("from:") && word.length > 5) fields.from = word.slice(5);
      else words.push(word);
    }
    return words.length ? { ...fields, words: words.join(" ") } : null;
  },

  set(rest) {
    const words = wordsOf(rest);
    if (!words.length) return {};
    return words.length === 2 ? { option: words[0], value: words[1] } : null;
  },

  lab(rest) {
    const [fault, target, amount, ...more] = wordsOf(rest);
    if (more.length || !["slow", "pause"].includes(fault) || !NUMBER.test(amount || "")) return null;
    if (fault === "pause" && !["publisher", "history"].includes(target)) return null;
    return { fault, target, amount: Number(amount) };
  },

  help(rest) {
    if (!rest) return {};
    return /\s/.test(rest) ? null : { about: rest.startsWith("/") ? rest : "/" + rest };
  },
};

// Read what follows a command's name. The usage has a place for each of the first fields: #room, NAME and the like stand
// for one word, N for a number, and a word in lower case for the rest of the line. Brackets mark what is optional.
function readPlaces({ usage, fields }, rest) {
  const places = usage.match(/\[[^\]]*\]|\S+/g).slice(1);
  const given = {};
  for (const [at, place] of places.entries()) {
    const optional = place.startsWith("[");
    const kind = optional ? place.slice(1, -1) : place;
    let value = "";
    if (/^[a-z]/.test(kind)) {
      [value, rest] = [rest, ""];
    } else if (!(optional && kind === "#room" && at < places.length - 1 && !rest.startsWith("#"))) {
      const cut = rest.indexOf(" ");
      [value, rest] = cut < 0 ? [rest, ""] : [rest.slice(0, cut), rest.slice(cut + 1).trim()];
    }
    if ((!value && !optional) || (kind === "N" && !NUMBER.test(value))) return null;
    if (value) given[fields[at]] = kind === "N" ? Number(value) : value;
  }
  return rest ? null : given;
}

// How many letters have to change to make one word of the other.
function distance(one, other) {
  let row = [...other].map((_, at) => at + 1);
  [...one].forEach((letter, down) => {
    let corner = down;
    let left = down + 1;
    row = row.map((above, at) => {
      const best = Math.min(above + 1, left + 1, corner + (letter === other[at] ? 0 : 1));
      corner = above;
      left = best;
      return best;
    });
  });
  return row.length ? row[row.length - 1] : one.length;
}

class Typed {
  constructor(commands) {
    this.commands = commands;
    this.byWord = new Map();
    for (const command of commands) for (const word of command.words) this.byWord.set(word, command);
  }

  // The command of a word with its /; undefined if there is none.
  called(word) {
    return this.byWord.get(word.toLowerCase());
  }

  nearest(word) {
    const near = [...this.byWord.keys()]
      .map((each) => [each.startsWith(word) ? 0.5 : distance(word.slice(0, 20), each), each])
      .sort((one, other) => one[0] - other[0])[0];
    return near && near[0] < 3 ? near[1] : "";
  }

  // A typed line: { request }, or { error }, or null if it is blank. A line end inside it counts as a space.
  line(typed) {
    const line = typed.replace(/\r\n|[\t-\r\x85\u2028\u2029]/g, " ").replace(/ +$/, "");
    if (!line.trim()) return null;
    if (line.startsWith("//")) return { request: { type: "say", text: line.slice(1) } };
    if (!line.startsWith("/")) return { request: { type: "say", text: line } };
    const cut = line.indexOf(" ");
    const word = cut < 0 ? line : line.slice(0, cut);
    const rest = cut < 0 ? "" : line.slice(cut + 1).trim();
    const command = this.called(word);
    if (!command) {
      const near = this.nearest(word.toLowerCase());
      const what = `There is no command ${word.slice(0, 40)}.`;
      return { error: `${what} ${near ? `Did you mean ${near}?` : "/help lists the commands."}` };
    }
    if (!command.type) return { error: `${command.words[0]} works over telnet only.` };
    const read = OWN[command.type];
    const fields = read ? read(rest) : readPlaces(command, rest);
    return fields ? { request: { type: command.type, ...fields } } : { error: `Usage: ${command.usage}` };
  }

  // Everything in the box, as a list of what `line` returns. Several lines are several messages, and none of them is a
  // command. But if the first word is a command, the rest belongs to it, as over telnet: /topic, /msg.
  all(typed) {
    const text = typed.replace(/\r\n?/g, "\n").replace(/^\n+|\s+$/g, "").replace(/\t/g, "    ");
    const lines = text.split("\n").filter((line) => line.trim());
    if (lines.length < 2 || this.called(lines[0].split(" ")[0])) return [this.line(text)].filter((each) => each);
    if (lines.length > MOST_LINES) {
      return [{ error: `These are ${lines.length} lines. At most ${MOST_LINES} can be said at once, so none was sent.` }];
    }
    return lines.map((line) => ({ request: { type: "say", text: line.replace(/\s+$/, "") } }));
  }

  // What the last word can become: { from: where the word begins, words: [{ word, does }] }.
  completions(before, names, rooms) {
    const from = before.search(/\S+$/);
    if (from < 0) return { from: 0, words: [] };
    const word = before.slice(from);
    if (from === 0 && word.startsWith("/")) {
      const found = this.commands.filter((each) => each.words[0].startsWith(word.toLowerCase()));
      return { from, words: found.map((each) => ({ word: each.words[0], does: each.does, usage: each.usage })) };
    }
    const about = from > 0 && before.startsWith("/help ") ? this.commands.map((each) => each.words[0]) : [];
    const known = word.startsWith("#") ? rooms : word.startsWith("/") ? about : names;
    const begins = fold(word.replace(/^@/, ""));
    return { from, words: known.filter((each) => fold(each).startsWith(begins)).map((each) => ({ word: each })) };
  }
}
