"""The page's look. Colours are Okabe and Ito's, told apart by people with any colour vision, and never alone."""

COLOURS = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b2430;--soft:#5d6b7c;--faint:#98a4b3;
--rule:#dde3ea;
--row:#eef1f5;--value:#1b2430;--expected:#0072b2;--band:#0072b2;--label:#0072b2;--p1:#c8400a;--p2:#d98b00;
--good:#00805c;
--false:#a8457f;--s1:#dfe5ec;--s2:#f3dfae;--s3:#eeb64a;--s4:#d55e00;--absent:#fff;--warming:#d7dde6}
@media(prefers-color-scheme:dark){:root{--page:#10151c;--card:#18202a;--ink:#e6ebf2;--soft:#9fadbd;--faint:#6b7889;
--rule:#2b3644;--row:#222c38;--value:#e6ebf2;--expected:#6cc0f0;--band:#56b4e9;--label:#6cc0f0;--p1:#ff7f45;
--p2:#f2b134;
--good:#3ccf9f;--false:#e58fc0;--s1:#2f3b4a;--s2:#5c4d26;--s3:#a87716;--s4:#e06a14;--absent:#18202a;
--warming:#33404f}}
"""

SHAPES = """
svg text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--soft)}
.server{font-size:12px!important;fill:var(--ink)!important}.tick{font-size:10.5px!important;fill:var(--soft)}
.grid{stroke:var(--rule);stroke-width:1;fill:none}.day{stroke:var(--faint);stroke-width:1;fill:none;opacity:.65}
.row{fill:var(--row)}.heat{fill:none}.s1{stroke:var(--s1)}.s2{stroke:var(--s2)}.s3{stroke:var(--s3)}
.s4{stroke:var(--s4)}
.absent{stroke:var(--absent)}.warming{stroke:var(--warming)}
.label{fill:none;stroke:var(--label);stroke-width:1.8}.label.missed{stroke:var(--ink);stroke-dasharray:3 2.2}
.mark{stroke:var(--card);stroke-width:1.2;paint-order:stroke}.mark.p1{fill:var(--p1)}.mark.p2{fill:var(--p2)}
.mark.false{fill:var(--card);stroke-width:1.9}.mark.p1.false{stroke:var(--p1)}.mark.p2.false{stroke:var(--p2)}
.mark.false.recovery{fill:var(--false);fill-opacity:.25;stroke:var(--false)}
a:hover .mark,a:focus .mark{stroke:var(--ink)}a:hover .label{stroke-width:3}
.panel{fill:none}.axis{stroke:var(--rule);fill:none}.name{font-weight:600!important;fill:var(--ink)!important;
font-size:12px!important}
.name{paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}
.note{font-weight:400;fill:var(--soft)}.zonename{font-size:9.5px!important;opacity:.8}
.zone.p2{fill:var(--p2);opacity:.13}.zone.p1{fill:var(--p1);opacity:.12}
.line{fill:none;stroke-width:13;stroke-linejoin:round;stroke-linecap:round}
.value,.severity,.score{stroke:var(--value)}
.expected{stroke:var(--expected);stroke-width:11;stroke-dasharray:45 32}.threshold{stroke:var(--p2);stroke-width:14;
stroke-dasharray:55 35}
.band{fill:var(--band);opacity:.17}.beyond{fill:var(--p2);opacity:.1}.labelled{fill:var(--label);opacity:.09}
.labelled.missed{fill:var(--ink);opacity:.1}
.event{fill:none;stroke-width:1.4}.event.onset{stroke:var(--label);stroke-dasharray:4 3}
.event.opened{stroke:var(--p1)}
.event.resolved{stroke:var(--good)}.caption{font-size:10px!important;font-weight:600}
.caption.onset{fill:var(--label)!important}
.caption.opened{fill:var(--p1)!important}.caption.resolved{fill:var(--good)!important}
"""

PAGE = """
*{box-sizing:border-box}html{scroll-behavior:smooth}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1260px;margin:0 auto;padding:28px 20px 60px}h1{font-size:27px;margin:0 0 2px;letter-spacing:-.01em}
h2{font-size:18px;margin:0 0 4px}.lead,.hint{color:var(--soft);margin:0 0 14px}.hint{font-size:13px}
section{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:18px 20px;margin:16px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(172px,1fr));gap:12px;margin:18px 0}
.tile{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:13px 16px}
.tile b{display:block;font-size:27px;line-height:1.2;font-weight:650;letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
.tile span{font-size:13px;color:var(--soft);display:block}.tile .what{color:var(--ink);font-weight:600}
.good{color:var(--good)}.bad{color:var(--p1)}
.wide{overflow-x:auto}svg{display:block;width:100%;height:auto}.timeline{min-width:820px}.closeup{min-width:620px;
max-width:1000px}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
th{color:var(--soft);font-weight:600;font-size:12.5px}th:first-child,td:first-child{text-align:left}
td.left,th.left{text-align:left}
tr:last-child td{border-bottom:0}td.text{white-space:normal}.pair{display:grid;
grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:16px}
.pair section{margin:0}.bar{display:inline-block;width:90px;height:8px;border-radius:4px;background:var(--row);
vertical-align:middle;overflow:hidden;margin-left:8px}
.bar i{display:block;height:100%;background:var(--good)}
details.episode{border-top:1px solid var(--rule)}details.episode:first-of-type{border-top:0}
summary{cursor:pointer;padding:8px 2px;display:grid;
grid-template-columns:14px 124px 34px minmax(96px,150px) 138px 1fr;gap:10px;align-items:center;list-style:none;
font-size:14px}
summary::-webkit-details-marker{display:none}summary:before{content:"";width:0;height:0;
border:5px solid transparent;border-left-color:var(--faint);border-right:0;transition:transform .1s}
details[open]>summary:before{transform:rotate(90deg)}summary:hover{background:var(--row)}
summary:focus-visible,a:focus-visible,button:focus-visible{outline:2px solid var(--label);outline-offset:2px}
.badge{font-size:12px;font-weight:650;border-radius:20px;padding:1px 9px;border:1.5px solid;text-align:center;
white-space:nowrap}
.badge.onset{color:var(--good)}.badge.later{color:var(--good);border-style:dotted}.badge.false{color:var(--false)}
.badge.recovery{color:var(--p1);border-style:double;border-width:3px;padding:0 7px}
.badge.missed{color:var(--ink);border-style:dashed}
.index{margin:0 0 12px;max-height:19em;overflow:auto}.index p{font-size:13px;margin:6px 0;line-height:1.9}
.index a{color:var(--ink);white-space:nowrap}
.badge.repeat,.badge.unjudged{color:var(--soft)}.p{font-weight:700}.p.P1{color:var(--p1)}.p.P2{color:var(--p2)}
.why{color:var(--soft);overflow:hidden;text-overflow:ellipsis;white-space:nowrap}.when{color:var(--soft);
font-variant-numeric:tabular-nums}
.body{padding:4px 0 18px 24px}.facts{font-size:13px;color:var(--soft);margin:0 0 8px}.quiet{color:var(--soft)}
.filters{display:flex;flex-wrap:wrap;gap:8px;margin:4px 0 12px}button{font:inherit;font-size:13px;color:var(--ink);
background:var(--row);border:1px solid var(--rule);border-radius:16px;padding:3px 12px;cursor:pointer}
button[aria-pressed=true]{background:var(--ink);color:var(--card)}.key{display:flex;flex-wrap:wrap;gap:6px 18px;
font-size:12.5px;color:var(--soft);margin:8px 0 0}
.key span{display:flex;align-items:center;gap:6px}.key svg{width:auto;flex:none}
code{font:13px ui-monospace,Menlo,Consolas,monospace;word-break:break-all;white-space:pre-wrap}
@media(max-width:720px){summary{grid-template-columns:14px 124px 34px 1fr}
summary .when,summary .why{grid-column:2/-1}.pair{grid-template-columns:1fr}}
@media print{details>*{display:block}button{display:none}}
"""

# Filters the list of incidents, and opens the one a mark on the timeline points to.
SCRIPT = """
const all=[...document.querySelectorAll('details.episode')],buttons=[...document.querySelectorAll('.filters button')];
buttons.forEach(b=>b.onclick=()=>{buttons.forEach(x=>x.setAttribute('aria-pressed',x===b));
all.forEach(d=>d.hidden=b.dataset.show!=='all'&&d.dataset.outcome!==b.dataset.show)});
const reveal=()=>{const d=document.getElementById(location.hash.slice(1));
if(d&&d.tagName==='DETAILS'){d.hidden=false;d.open=true;
d.scrollIntoView({block:'start'})}};addEventListener('hashchange',reveal);reveal();
"""
