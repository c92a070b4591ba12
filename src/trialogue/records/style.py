"""How a report looks: by day, by night, on a telephone and on paper."""

from __future__ import annotations

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """
:root{color-scheme:light dark;--page:#fff;--panel:#f5f6f8;--band:#f8f9fb;--ink:#1a1f26;
--soft:#596372;--line:#dfe3e8;--user:#46566b;--on:#fff;--tool:#64748b;--good:#15803d;
--fair:#a35b00;--bad:#c01c28;--wire:#94a3b8;--link:#1d5fd0;
--a0:#2563eb;--a1:#c2410c;--a2:#0f766e;--a3:#7c3aed;--a4:#be185d;--a5:#4d7c0f;
--a6:#0369a1;--a7:#8a5a00}
@media (prefers-color-scheme:dark){:root{--page:#101318;--panel:#191e25;--band:#151920;
--ink:#e7eaef;--soft:#9ba6b5;--line:#2b323c;--user:#a9b7c9;--on:#101318;--tool:#8b99ab;
--good:#5bd089;--fair:#f0b35a;--bad:#ff7b80;--wire:#5b6a7d;--link:#8ab4ff;
--a0:#7fabff;--a1:#ff9d66;--a2:#52d3c2;--a3:#bba0ff;--a4:#ff8fbc;--a5:#a9d864;
--a6:#6fc6f5;--a7:#e3bb5c}}
*{box-sizing:border-box}
html{background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:1076px;padding:36px 24px 64px}
h1{font-size:27px;line-height:1.2;margin:0 0 6px;letter-spacing:-.01em}
h2{font-size:18px;margin:44px 0 12px}
header p,.soft,figcaption,.pause{color:var(--soft)}
header p{margin:0}header .failure{color:var(--ink);margin-top:18px}
a{color:var(--link)}
code,.id{font:13px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.id{color:var(--soft)}
.failure{border-left:4px solid var(--bad);background:var(--panel);padding:10px 14px;
overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(132px,1fr));gap:10px;
margin:26px 0 0}
.tiles div{background:var(--panel);border-radius:10px;padding:13px 14px 12px}
.tiles dt{color:var(--soft);font-size:13px}
.tiles dd{margin:0}
.tiles .value{font-size:25px;font-weight:600;line-height:1.25;letter-spacing:-.01em;
font-variant-numeric:tabular-nums}
.tiles .more{color:var(--soft);font-size:13px}
.brisk{color:var(--good)}.fair{color:var(--fair)}.slow,.bad{color:var(--bad)}
figure{margin:0}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:0 0 14px;padding:0;
list-style:none;color:var(--soft);font-size:13px}
.legend svg{vertical-align:-3px;margin-right:6px}
.overview{width:100%;height:auto;display:block;background:var(--panel);border-radius:8px}
.overview+figcaption{font-size:13px;margin:4px 0 18px}
.door{fill:transparent;stroke:var(--line)}.door:hover{fill:var(--ink);fill-opacity:.08}
.strip{display:flex;margin:0 0 14px;padding-top:6px;border-top:1px solid var(--line)}
.strip:target{background:var(--panel)}
.scroll{overflow-x:auto;flex:1 1 auto;min-width:0}
.names,.lanes{display:block;flex:none;font-size:12px}
.pause{text-align:center;font-size:13px;margin:0 0 14px}
.band{fill:var(--band)}.grid{stroke:var(--line)}
.tick{fill:var(--soft);font-size:11px;font-variant-numeric:tabular-nums}
.name{fill:var(--soft)}.label{fill:var(--ink);font-size:11.5px}
.inside{fill:var(--on);font-size:11.5px}
svg a{cursor:pointer;color:inherit}
.voice{fill:var(--user)}
.reply path{fill:none;stroke:currentColor;stroke-width:1.6}
.reply .label{fill:currentColor;font-weight:600}
.current{fill:var(--c);fill-opacity:.16}.speech{fill:var(--c)}
.speech .inside{fill:var(--on)}.speech.cut .cross{stroke:var(--bad);stroke-width:2.2;
fill:none}
.crossing{fill:none;stroke:var(--soft);stroke-width:1.3;stroke-dasharray:3 2}
.handoff rect,.handoff path{fill:var(--ink)}.delegation{fill:var(--wire)}
.tool{fill:var(--tool)}.connection{fill:var(--wire)}
path.handoff{fill:var(--ink)}
.outage,.tool.bad,.handoff.bad rect,.delegation.bad{fill:var(--bad)}
.connection .cross{stroke:var(--bad);stroke-width:2.2;fill:none}
.note.info{fill:var(--wire)}.note.warning{fill:var(--fair)}.note.error{fill:var(--bad)}
.a0{--c:var(--a0)}.a1{--c:var(--a1)}.a2{--c:var(--a2)}.a3{--c:var(--a3)}
.a4{--c:var(--a4)}.a5{--c:var(--a5)}.a6{--c:var(--a6)}.a7{--c:var(--a7)}
text.name{fill:var(--c,var(--soft));font-weight:600}
.talk{list-style:none;margin:0;padding:0}
.talk li{display:grid;grid-template-columns:56px 104px 1fr;gap:0 14px;padding:7px 8px;
border-radius:8px;border-left:3px solid transparent;scroll-margin:20vh}
.talk li:target{background:var(--panel)}
.talk time{color:var(--soft);font-size:13px;line-height:22px;text-align:right;
font-variant-numeric:tabular-nums}
.talk .who{font-weight:600;color:var(--c,var(--user));overflow-wrap:anywhere}
.talk .what{min-width:0;overflow-wrap:anywhere;white-space:pre-line;
unicode-bidi:isolate}
.talk .aside .who{font-weight:400;color:var(--soft)}
.talk .aside .what{color:var(--soft)}
.talk .aside.bad .what,.talk .aside.error .what{color:var(--bad)}
.talk .aside.warning .what{color:var(--fair)}
.talk .turnover{border-top:1px dashed var(--line);border-radius:0;margin-top:6px}
.talk .gone .what>span:first-child{text-decoration:line-through;color:var(--soft)}
.chip{display:inline-block;font-size:12px;line-height:18px;padding:0 8px;
margin-right:2px;border-radius:9px;background:var(--panel);color:var(--soft);white-space:nowrap}
.chip.brisk{color:var(--good)}.chip.fair{color:var(--fair)}
.chip.slow,.chip.bad{color:var(--bad)}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums;
width:100%}
caption{text-align:left;color:var(--soft);font-size:13px;padding:0 0 6px}
th,td{text-align:left;padding:5px 14px 5px 0;border-bottom:1px solid var(--line);
vertical-align:top;white-space:nowrap}
th{font-weight:600}.prose{white-space:normal;overflow-wrap:anywhere;min-width:120px}
.number{text-align:right;white-space:nowrap}
thead th{color:var(--soft);font-weight:400;font-size:13px}
tfoot td,tfoot th{font-weight:600;border-bottom:0}
details{margin:14px 0 0}summary{cursor:pointer;color:var(--link)}
details[open] summary{margin-bottom:10px}
footer{margin-top:48px;padding-top:14px;border-top:1px solid var(--line);font-size:13px;
color:var(--soft)}
@media (max-width:680px){body{padding:22px 14px 40px}h1{font-size:23px}
.tiles{grid-template-columns:repeat(2,1fr);gap:8px}.tiles .value{font-size:21px}
.talk li{grid-template-columns:48px 1fr;padding:6px 4px}.talk .what{grid-column:2}}
@media print{@page{size:A4 landscape;margin:10mm}html{font-size:13px}
.screen{display:none}
body{max-width:none;padding:0}.strip,.talk li,.tiles div,tr{break-inside:avoid}
.scroll{overflow:visible}.legend,.tiles div,.overview{border:1px solid var(--line)}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
""".strip()
