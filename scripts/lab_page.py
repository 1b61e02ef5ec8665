"""A run as one page for a browser: no network, no other file. With keys and buttons, and for screen readers and paper.

Python writes the whole page; the script in it only shows one step at a time. Everything from the student's file is
escaped, and the page's policy allows no other script.
"""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape

from lab_story import Step, Story

STYLE = """
:root { color-scheme: light dark; --edge: #767676; --mark: #fff0b3; --stop: #a33000; }
@media (prefers-color-scheme: dark) { :root { --edge: #8a8a8a; --mark: #4a3b00; --stop: #ffb08a; } }
body { font: clamp(1.1rem, 0.8rem + 0.9vw, 1.9rem)/1.4 system-ui, sans-serif; margin: 0 auto; padding: 0 1em 2em;
  max-width: 80em; background: Canvas; color: CanvasText; }
h1 { font-size: 1.3em; } h2 { font-size: 1.05em; margin: 1em 0 0.3em; }
code { font-family: ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
#now { position: sticky; top: 0; background: Canvas; border-bottom: 2px solid var(--edge); padding: 0.4em 0; }
#now p { margin: 0.4em 0; min-height: 2.8em; }
button, input { font: inherit; min-height: 2.2em; padding: 0 0.7em; }
input { width: 4em; padding: 0 0.3em; }
:focus-visible { outline: 3px solid Highlight; outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; }
th, td { border: 1px solid var(--edge); padding: 0.2em 0.5em; text-align: start; vertical-align: top; }
tr[aria-current] { background: var(--mark); } tr[aria-current] th::before { content: "▶ "; }
tr { scroll-margin: 9em 0 1em; }
td p { margin: 0 0 0 1em; } td div { overflow-x: auto; }
.stopped { color: var(--stop); font-weight: bold; border-inline-start: 0.3em solid; padding-inline-start: 0.4em; }
.state { display: none; } .state.shown { display: block; }
ul { margin: 0; padding-inline-start: 1.2em; }
.wrong { font-weight: bold; white-space: pre-wrap; }
.wide { overflow-x: auto; }
.stepping .paper { display: none; }
@media screen and (min-width: 55em) { .both { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 3fr);
  gap: 1em; } .states { position: sticky; top: 7em; align-self: start; } }
@media print { #now, .states, .keys { display: none; } .stepping .paper { display: block; }
  body { font-size: 10pt; max-width: none; }
  tr[aria-current] { background: none; } tr[aria-current] th::before { content: ""; } tr { break-inside: avoid; } }
"""

SCRIPT = """
const states = [...document.querySelectorAll('.state')], rows = [...document.querySelectorAll('tbody tr')];
const said = document.getElementById('said'), box = document.getElementById('number');
let at = 0;
function go(to, move = true) {
  at = Math.max(0, Math.min(states.length - 1, to));
  states.forEach((each, index) => each.classList.toggle('shown', index === at));
  rows.forEach((row, index) => index === at ? row.setAttribute('aria-current', 'step')
    : row.removeAttribute('aria-current'));
  said.textContent = states[at].dataset.said;
  box.value = at + 1;
  if (move) rows[at].scrollIntoView({block: 'nearest'});
}
const moves = {first: () => go(0), back: () => go(at - 1), next: () => go(at + 1), last: () => go(states.length - 1)};
for (const [name, move] of Object.entries(moves)) document.getElementById(name).addEventListener('click', move);
box.addEventListener('change', () => go(Number(box.value) - 1 || 0));
rows.forEach((row, index) => row.addEventListener('click', () => go(index, false)));
const keys = {ArrowRight: 'next', n: 'next', ' ': 'next', ArrowLeft: 'back', p: 'back', Home: 'first', End: 'last'};
document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target === box) return;
  if (event.key === 'g') { box.focus(); box.select(); event.preventDefault(); return; }
  if (event.key.startsWith('Arrow') && event.target.className === 'wide') return;  // it scrolls
  if (!keys[event.key] || (event.key === ' ' && event.target.tagName === 'BUTTON')) return;
  event.preventDefault();
  moves[keys[event.key]]();
});
document.getElementById('now').hidden = false;
document.body.className = 'stepping';
go(0, false);
"""


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _name(text: str) -> str:
    return f"<bdi>{escape(text)}</bdi>"


def _spoken(note: str) -> str:
    """Without the signs around it."""
    return note.removeprefix("── ") if note.startswith("──") else re.sub(r"^\((.*)\)$", r"\1", note)


def _notes(story: Story, step: Step) -> list[str]:
    notes = [f"<p>{_code(each)}</p>" for each in story.told(step) if not step.stopped or each != story.stop(step)]
    if step.stopped:
        notes.append(f'<p class="stopped">Stopped: {escape(story.stop(step).removeprefix("── "))}</p>')
    return notes


def _row(story: Story, step: Step) -> str:
    code = f"<div>{_code(step.code())}</div>" if step.line else ""
    cells = [
        "<td>" + (code + "".join(_notes(story, step)) if index == step.thread else "") + "</td>"
        for index in range(len(story.threads))
    ]
    return f'<tr id="step-{step.number}"><th scope="row">{step.number}</th>{"".join(cells)}</tr>'


def _state(story: Story, step: Step) -> str:
    last = step.number == len(story.steps)
    code = f"line {step.line}: {step.text}" if step.line else "no line of its own"
    parts = [
        f"{story.threads[step.thread]}, {'goes on in ' if step.goes_on else ''}{code}",
        *(_spoken(each) for each in story.told(step)),
    ]
    said = f"Step {step.number} of {len(story.steps)}. " + ". ".join(parts) + "."
    said += f" This was the last step. {story.fault or 'Nothing goes wrong in this run.'}" if last else ""
    threads = []
    for index, name in enumerate(story.threads):
        has = f", holds {', '.join(step.holds[index])}" if step.holds[index] else ""
        turn = " (this step)" if index == step.thread else ""
        threads.append(f"<li>{_name(name)}{turn}: {escape(step.where[index] + has)}</li>")
    values = [
        f"<li>{_code(f'{label} = {value}')}{' <strong>changed</strong>' if label in step.changed else ''}</li>"
        for label, value in step.values.items()
    ]
    shared = f"<h2>Shared values</h2><ul>{''.join(values)}</ul>" if values else ""
    where = f"<h2>Where the threads are</h2><ul>{''.join(threads)}</ul>"
    return f'<div class="state" data-said="{escape(said)}">{where}{shared}</div>'


def page_of(story: Story, title: str, command: str) -> str:
    """The page. ``command``: what to type to see the same run in a terminal."""
    allowed = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    first = "".join(f"<li>{_code(f'{label} = {value}')}</li>" for label, value in story.first.items())
    beginning = f'<div class="paper"><h2>Shared values at the beginning</h2><ul>{first}</ul></div>' if first else ""
    heads = "".join(f'<th scope="col">{_name(name)}</th>' for name in story.threads)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p>{escape(story.scene)}</p>
<p>On {story.python()}.</p>
<div id="now" role="group" aria-label="Steps" hidden>
<button id="first" type="button">First</button>
<button id="back" type="button">Back</button>
<button id="next" type="button">Next</button>
<button id="last" type="button">Last</button>
<label>Step <input id="number" type="number" min="1" max="{len(story.steps)}" value="1"></label> of {len(story.steps)}
<p id="said" aria-live="polite" aria-atomic="true"></p>
</div>
{beginning}
<div class="both">
<div class="states">
{"".join(_state(story, step) for step in story.steps)}
</div>
<div>
<h2 id="run">The whole run</h2>
<p class="keys">Keys: n, space or right goes forward, p or left goes back, g goes to the number of a step.</p>
<div class="wide" role="region" aria-labelledby="run" tabindex="0"><table>
<thead><tr><th scope="col">Step</th>{heads}</tr></thead>
<tbody>
{chr(10).join(_row(story, step) for step in story.steps)}
</tbody>
</table></div>
</div>
</div>
<h2>At the end</h2>
<p class="wrong">{escape(story.fault or "Nothing goes wrong in this run.")}</p>
<p>The same run in a terminal: {_code(command)}</p>
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""
