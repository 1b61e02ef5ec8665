"use strict";
// What people type becomes requests, as over telnet: the server sends the table of its commands with the page.
// dialects/typed.py and usage.py do the same in Python, and a test compares the two.

const COMMAND = /^\/(?![\/*])/; // but // and /* begin a text
const NUMBER = /^[0-9]{1,15}$/;
// A command with a password behind it, typed without its /; but a sentence goes on with words.
const SECRET = /^(register|login|password|unregister):? +(\S+ +)?(\S+?)([.,;:!?)]*)$/i;
const PRIVATE = // the same for /msg
  /^msg (?!(me|us|you|him|her|them|it|the|a|an|this|that|my|our|your|his|their|if|when|for|and|or)\b)@?\p{L}\S* +\S/iu;
const ORDINARY = /^(\p{L}*([’']\p{L}+)*|\d{1,5})$/u;
const WORD = /^(\S*)\s*([^]*)$/; // and what follows it
const UNITS = { s: 1, m: 60, h: 3600, d: 86400 };

function wordsOf(text) {
  return text.match(/\S+/g) || [];
}

// Commands whose words have no fixed order. Each returns the fields, or null if the words are not as the usage says.
const OWN = {
  delete(rest) {
    const [room, yes, ...more] = wordsOf(rest);
    return room && !more.length && (!yes || /^yes$/i.test(yes)) ? { room, ask: !yes } : null;
  },

  history(rest) {
    const words = wordsOf(rest);
    const fields = words.length && words[0].startsWith("#") ? { room: words.shift() } : {};
    const [word, number, ...more] = words;
    if (!word) return fields;
    const time = /^([0-9]{1,9})([smhd])$/.exec(word);
    if (!number && NUMBER.test(word) && Number(word)) return { ...fields, count: Number(word) };
    if (!number && time) return { ...fields, seconds: Number(time[1]) * UNITS[time[2]] };
    const beside = /^(before|after)$/.test(word) && !more.length && NUMBER.test(number || "");
    return beside ? { ...fields, [word]: Number(number) } : null;
  },

  search(rest) {
    const fields = {};
    const words = wordsOf(rest).filter((word) => {
      const [, limit, value] = /^(in|from|before(?=:[#\d])):(.+)$/i.exec(word) || [];
      const key = limit && limit.toLowerCase();
      if (key) fields[key === "in" ? "room" : key] = key === "from" ? value.replace(/^@(?=.)/, "") : value;
      return !key;
    });
    if (words[0]) fields.words = words.join(" ");
    return rest ? fields : null;
  },

  set(rest) {
    const [option, value, ...more] = wordsOf(rest);
    if (!option) return {};
    return value && !more.length ? { option, value } : null;
  },
};

// Read what follows a command's name. The usage has a place for each of the first fields: #room, NAME and the like
// stand for one word, N for a number, a word in lower case for the rest of the line. Brackets mark what is optional.
function readPlaces({ usage, fields }, rest) {
  const places = usage.match(/\[[^\]]*\]|\S+/g).slice(1);
  const found = {};
  for (const [at, place] of places.entries()) {
    const optional = place.startsWith("[");
    const kind = optional ? place.slice(1, -1) : place;
    let value = "";
    if (/^[a-z]/.test(kind)) {
      [value, rest] = [rest, ""];
    } else if (!(optional && kind === "#room" && at < places.length - 1 && !rest.startsWith("#"))) {
      [, value, rest] = WORD.exec(rest);
    }
    if ((!value && !optional) || (kind === "N" && !NUMBER.test(value))) return null;
    const field = fields[at] || kind.toLowerCase().replace("#", "");
    if (value) found[field] = kind === "N" ? Number(value) : value;
  }
  return rest ? null : found;
}

class Typed {
  // `commands` are as page.table() has them.
  constructor(commands) {
    this.byWord = new Map();
    this.commands = commands.map(([usage, does, aliases = [], type = "", fields = []]) => {
      const word = usage.split(" ")[0];
      return { word, usage, does, aliases, type: type || word.slice(1), fields };
    });
    for (const each of this.commands) for (const word of [each.word, ...each.aliases]) this.byWord.set(word, each);
  }

  // The command of a word with its /, which may be a wide one; undefined if there is none.
  called(word) {
    return this.byWord.get(word.toLowerCase().replace(/^[／、・]/, "/"));
  }

  // A typed line, or a text of several: { request }, or { error }, or null if it is blank. What is said keeps its lines.
  line(typed) {
    const line = typed.replace(/[\t\v-\r\x85\u2028\u2029]/g, " ").replace(/ +$/, "");
    if (!line.trim()) return null;
    const [, word, rest] = WORD.exec(line.trimStart());
    const command = this.called(word);
    if (!COMMAND.test(line)) { // a command that is not at the beginning may be private
      if (command) return { error: `Nothing was sent. Begin the line with ${command.word}.` };
      const [, name, who, last, sign] = SECRET.exec(line) || [];
      if (name && (!ORDINARY.test(last) || (who && !sign && last.length > 7 && /login/i.test(name)))) {
        return { error: `That may be a password. Nothing was sent. Type /${name.toLowerCase()} alone.` };
      }
      if (PRIVATE.test(line)) return { error: "Nothing was sent. Begin the line with /msg; or a space, if all may read it." };
      return { request: { type: "say", text: line.replace(/^\/\/(?! )/, "/") } };
    }
    if (!command || command.type === "help") return { request: { type: "typed", line } }; // the server knows more
    const { type } = command;
    const text = WRITTEN.test(type) ? rest : rest.replace(/\n/g, " ");
    const fields = OWN[type] ? OWN[type](text) : readPlaces(command, text);
    return fields === null ? { error: `Usage: ${command.usage}` } : { request: { type, ...fields } };
  }

  // Everything in the box, as a list of what `line` returns. Several lines are one message, or as few as have room for
  // them, and none is a command. But if the text begins with a command, all of it belongs to that: /topic, /msg.
  all(typed, { text: most, lines }) {
    const text = typed.replace(/\r\n?/g, "\n").replace(/^\s*\n|\s+$/g, "").replace(/\t/g, "    ");
    if (COMMAND.test(text) || !/\n/.test(text)) return [this.line(text)].filter((each) => each);
    const found = [];
    let left = 0;
    for (const line of text.split("\n").map((each) => each.trimEnd())) {
      const more = `${found[found.length - 1]}\n${line}`;
      if (left > 1 && more.length <= most) {
        found[found.length - 1] = more;
        left -= 1;
      } else if (line) {
        found.push(line);
        left = lines;
      }
    }
    return found.map((text) => ({ request: { type: "say", text } }));
  }

  // What the last word can become: { from: where the word begins, words }. A word is a command's, a room's or a name.
  completions(before, names, rooms) {
    const from = before.search(/\S+$/);
    const word = from < 0 ? "" : before.slice(from);
    const commands = this.commands.map((each) => each.word);
    const known = word.startsWith("#") ? rooms : word.startsWith("/") ? commands : names;
    const begins = fold(word.replace(/^@/, ""));
    const fits = (each) => word && (from === 0 || known !== commands) && fold(each).startsWith(begins);
    return { from, words: known.filter(fits) };
  }
}
