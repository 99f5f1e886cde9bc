"""Script of the page: follows the WebSocket, draws a card a coin, connects again when the server comes back."""

# ruff: noqa: E501

SCRIPT = r"""
'use strict';
const $ = id => document.getElementById(id);
const NS = 'http://www.w3.org/2000/svg';
const state = {said: null, closes: {}, at: null, heard: 0, key: null, wait: 500};
const make = (tag, cls, text) => { const e = document.createElement(tag); if (cls) e.className = cls;
  if (text !== undefined) e.textContent = text; return e; };
const draw = (tag, at) => { const e = document.createElementNS(NS, tag);
  for (const k in at) e.setAttribute(k, at[k]); return e; };
const pct = (x, d = 1) => x === null ? '–' : (100 * x).toFixed(d) + ' %';
const signed = (x, d = 2) => x === null ? '–' : (x > 0 ? '+' : x < 0 ? '−' : '') + Math.abs(100 * x).toFixed(d) + ' %';
const usd = x => x === null ? '–' : '$' + x.toLocaleString('en-US', {maximumSignificantDigits: 6});
const ratio = r => r === null ? null : Math.exp(r) - 1;

function theme(name) { document.documentElement.dataset.theme = name; try { localStorage.setItem('theme', name); } catch (e) {} }
let wanted = null; try { wanted = localStorage.getItem('theme'); } catch (e) {}
theme(wanted || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'));
$('theme').addEventListener('click', () => theme(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark'));

function spark(closes, symbol) {
  const low = Math.min(...closes), span = Math.max(...closes) - low || 1, n = closes.length - 1;
  const d = closes.map((c, i) => (i ? 'L' : 'M') + (100 * i / n).toFixed(2) + ' ' + (36 - 34 * (c - low) / span).toFixed(2)).join('');
  const svg = draw('svg', {class: 'spark', viewBox: '0 0 100 38', preserveAspectRatio: 'none', role: 'img',
    'aria-label': `${symbol}, last ${closes.length} hours: ${signed(closes[n] / closes[0] - 1)}`});
  svg.append(draw('path', {d}));
  return svg;
}
function band(p) {
  const far = Math.max(...p.intervals.map(i => Math.max(Math.abs(i.low_return), Math.abs(i.high_return)))) * 1.08;
  const x = r => 50 + 50 * r / far;
  const wide = p.intervals[p.intervals.length - 1];
  const svg = draw('svg', {class: 'band', viewBox: '0 0 100 26', preserveAspectRatio: 'none', role: 'img', 'aria-label':
    p.intervals.map(i => `${i.level} % between ${signed(ratio(i.low_return))} and ${signed(ratio(i.high_return))}`).join('; ')});
  for (const i of [...p.intervals].reverse()) svg.append(draw('rect', {class: 'b' + i.level, x: x(i.low_return), y: 4,
    width: x(i.high_return) - x(i.low_return), height: 18}));
  svg.append(draw('line', {class: 'zero', x1: 50, x2: 50, y1: 0, y2: 26}));
  const m = x(p.expected_return); svg.append(draw('line', {x1: m, x2: m, y1: 2, y2: 24, 'stroke-width': 2}));
  return [svg, wide];
}
function pair(dl, name, value) { dl.append(make('dt', '', name), make('dd', '', value)); }
function card(p) {
  const li = make('li', 'coin'), top = make('div', 'row'), next = make('div', 'row');
  top.append(make('h2', '', p.symbol), make('span', 'price', usd(p.price)));
  const mark = {BUY: '▲ BUY', SELL: '▼ SELL', HOLD: '● HOLD'}[p.prediction];
  li.append(top);
  const closes = state.closes[p.symbol];
  if (closes && closes.length > 2) li.append(spark(closes, p.symbol));
  const side = p.p_up === null ? '' : p.p_up >= 0.5 ? 'up' : 'down';
  next.append(make('span', 'big ' + side, p.p_up === null ? 'no direction' : `${pct(p.p_up)} up`), make('span', 'act ' + p.prediction, mark));
  li.append(next);
  if (p.p_up !== null) {
    const bar = make('div', 'prob ' + side), fill = make('i');
    bar.setAttribute('role', 'img'); bar.setAttribute('aria-label', `Probability of a rise ${pct(p.p_up)}`);
    fill.style.left = 100 * Math.min(p.p_up, 0.5) + '%'; fill.style.width = 100 * Math.abs(p.p_up - 0.5) + '%';
    bar.append(fill, make('b')); li.append(bar);
  }
  const dl = make('dl');
  if (p.intervals.length) {
    const [svg, wide] = band(p); li.append(svg);
    pair(dl, `${wide.level} % band`, `${signed(ratio(wide.low_return)).slice(0, -2)} … ${signed(ratio(wide.high_return))}`);
  }
  pair(dl, 'Expected', signed(ratio(p.expected_return))); pair(dl, 'Price target', usd(p.price_target));
  pair(dl, 'Volatility', pct(p.volatility, 2)); pair(dl, 'Confidence', pct(p.confidence));
  if (p.p_beats_median !== null) pair(dl, 'Beats the median coin', pct(p.p_beats_median));
  if (p.epistemic !== null) pair(dl, 'Doubt in the models', pct(p.epistemic / (p.epistemic + p.aleatoric), 2));
  li.append(dl);
  const more = make('details'); more.append(make('summary', '', 'Members and origin'));
  const list = make('ul', 'members');
  for (const m of p.members) if (m.p_up !== null || m.weight) { const one = make('li');
    one.append(make('span', '', `${m.model} · ${pct(m.weight, 0)}`), make('span', '', m.p_up === null ? '' : pct(m.p_up))); list.append(one); }
  more.append(list, make('code', '', `crypto-assets trace ${p.prediction_id}`)); li.append(more);
  return li;
}
const orders = {given: () => 0, up: (a, b) => b.p_up - a.p_up, sure: (a, b) => b.confidence - a.confidence,
  quiet: (a, b) => a.volatility - b.volatility};
function show() {
  if (!state.said) return;
  const horizon = document.querySelector('[name=horizon]:checked').value;
  const open = new Set([...document.querySelectorAll('.coin details[open]')].map(d => d.closest('.coin').querySelector('h2').textContent));
  const cards = state.said.filter(p => p.timeframe === horizon).sort(orders[$('order').value]).map(card);
  for (const c of cards) if (open.has(c.querySelector('h2').textContent)) c.querySelector('details').open = true;
  $('coins').replaceChildren(...cards);
  badge(horizon); when();
}
function when() {
  if (!state.at) return;
  const at = new Date(state.at), age = Math.max(0, Math.round((state.age + Date.now() - state.heard) / 60000));
  $('when').textContent = `Hour closed ${at.toISOString().slice(0, 16).replace('T', ' ')} UTC, ${age} min ago. Next in ${Math.max(0, 60 - age)} min.`;
}
function badge(horizon) {
  const c = state.model && state.model.calibration[horizon], b = $('badge');
  b.hidden = !state.model;
  b.textContent = c ? `Calibration: off by ${pct(c.ece)} on average, right ${pct(c.accuracy)} of ${c.n.toLocaleString('en-US')} out of sample`
    : 'Calibration: not measured yet';
}
async function about() {
  const answer = await fetch('/model', {headers: state.key ? {'X-API-Key': state.key} : {}});
  if (!answer.ok) return;
  state.model = await answer.json();
  const m = state.model;
  $('model').textContent = `Champion ${m.number} (${m.version}): ${Object.keys(m.members).join(', ')}; trained until ${m.trained_until.slice(0, 10)}.`;
  show();
}
function live(text, cls) { $('live').textContent = text; $('live').className = 'chip ' + cls; }
function problem(text) { $('problem').hidden = !text; $('problem').textContent = text; }
function connect() {
  const socket = new WebSocket((location.protocol === 'https:' ? 'wss://' : 'ws://') + location.host + '/ws/predictions');
  socket.onopen = () => { if (state.key) socket.send(JSON.stringify({key: state.key})); };
  socket.onmessage = event => {
    const said = JSON.parse(event.data); state.wait = 500; problem(said.problem || ''); live(said.problem ? 'waiting' : 'live', said.problem ? 'bad' : 'ok');
    state.age = 1000 * said.age_seconds; state.heard = Date.now();
    if (said.type === 'predictions') { state.said = said.predictions; state.closes = said.closes; state.at = said.at; show(); about(); }
    else when();
  };
  socket.onclose = event => {
    live('not connected', 'bad');
    if (event.code === 1008) { $('key').hidden = false; problem('A key is needed.'); return; }
    problem(state.said ? 'The connection was lost; these are the last forecasts.' : 'No forecasts yet: the server is starting, or the stream is not running.');
    setTimeout(connect, state.wait); state.wait = Math.min(15000, 2 * state.wait);
  };
}
$('key').addEventListener('submit', event => { event.preventDefault(); state.key = $('secret').value; $('key').hidden = true; connect(); });
document.querySelectorAll('[name=horizon]').forEach(e => e.addEventListener('change', show));
$('order').addEventListener('change', show);
setInterval(when, 20000);
connect();
"""
