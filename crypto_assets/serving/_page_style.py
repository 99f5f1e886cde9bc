"""Style of the page: two themes, one column on a phone."""

# ruff: noqa: E501

STYLE = """
:root{color-scheme:light;--bg:#f4f6f9;--card:#fff;--text:#18202e;--soft:#525d70;--line:#dbe1ea;--up:#0a6b38;--down:#a8231a;
--track:#e6eaf1;--accent:#1d4fc4;--band1:#b9c9ee;--band2:#d3def6;--band3:#e7edfa;--warn:#fff2d9;--warntext:#6b4700}
:root[data-theme=dark]{color-scheme:dark;--bg:#0e131a;--card:#171e29;--text:#e9edf4;--soft:#a5b0c2;--line:#2b3544;--up:#5bd693;
--down:#ff9186;--track:#2a3443;--accent:#8ab4ff;--band1:#3f5c99;--band2:#2f446f;--band3:#233250;--warn:#38290c;--warntext:#ffd894}
*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--text);font:16px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
font-variant-numeric:tabular-nums}
.skip{position:absolute;left:-999px}.skip:focus{left:8px;top:8px;background:var(--card);padding:6px 10px;z-index:2}
header,main,footer{max-width:1180px;margin:0 auto;padding:0 16px}
header{display:flex;justify-content:space-between;align-items:flex-start;gap:12px;padding-top:20px}
h1{font-size:1.55rem;margin:0}h2{font-size:1.12rem;margin:0}p{margin:.2em 0}.soft{color:var(--soft)}
.tools{display:flex;gap:8px;align-items:center}
button,select,input[type=password]{font:inherit;color:var(--text);background:var(--card);border:1px solid var(--line);
border-radius:9px;padding:6px 11px;min-height:36px}
button{cursor:pointer}:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.chip{border:1px solid var(--line);border-radius:99px;padding:3px 11px;font-size:.86rem;background:var(--card);white-space:nowrap}
.chip.ok{color:var(--up)}.chip.bad{color:var(--down)}
.bar{display:flex;flex-wrap:wrap;gap:10px 20px;align-items:end;margin:14px 0}
fieldset{border:0;margin:0;padding:0}legend,.sort{font-size:.85rem;padding:0}.sort select{display:block;margin-top:2px}
fieldset label{float:left;position:relative}
fieldset input{position:absolute;opacity:0;inset:0}
fieldset span{display:block;padding:6px 13px;min-height:36px;border:1px solid var(--line);background:var(--card);margin-right:-1px;
margin-top:2px}
fieldset label:nth-of-type(1) span{border-radius:9px 0 0 9px}fieldset label:nth-of-type(3) span{border-radius:0 9px 9px 0}
fieldset input:checked+span{background:var(--accent);border-color:var(--accent);color:var(--bg);font-weight:600}
fieldset input:focus-visible+span{outline:3px solid var(--accent);outline-offset:2px}
.badge{margin:0 0 0 auto;border:1px solid var(--line);border-radius:9px;padding:6px 12px;background:var(--card);font-size:.88rem}
.problem{background:var(--warn);color:var(--warntext);border-radius:9px;padding:9px 13px}
#coins{list-style:none;margin:0;padding:0;display:grid;gap:12px;grid-template-columns:repeat(auto-fill,minmax(270px,1fr))}
#coins:focus{outline:none}
.coin{background:var(--card);border:1px solid var(--line);border-radius:13px;padding:13px 15px}
.row{display:flex;justify-content:space-between;align-items:center;gap:8px}
.act{font-weight:700;font-size:.86rem;border-radius:7px;padding:2px 9px;border:1px solid currentColor}
.BUY{color:var(--up)}.SELL{color:var(--down)}.HOLD{color:var(--soft)}.up{color:var(--up)}.down{color:var(--down)}
.price{font-size:1.05rem}.big{font-size:1.35rem;font-weight:650}
.prob{height:10px;border-radius:6px;background:var(--track);position:relative;margin:8px 0 3px;overflow:hidden}
.prob i{position:absolute;top:0;bottom:0;background:currentColor}.prob b{position:absolute;left:50%;top:0;bottom:0;width:2px;
margin-left:-1px;background:var(--text)}
svg{display:block;width:100%}.spark{height:38px;margin:6px 0}.spark path{fill:none;stroke:var(--accent);stroke-width:1.6;
vector-effect:non-scaling-stroke}
.band{height:26px;margin-top:8px}.band .b90{fill:var(--band3)}.band .b80{fill:var(--band2)}.band .b50{fill:var(--band1)}
.band line{stroke:var(--text);vector-effect:non-scaling-stroke}.band .zero{stroke:var(--soft);stroke-dasharray:3 3}
dl{display:grid;grid-template-columns:auto auto;gap:1px 10px;margin:8px 0 0;font-size:.88rem}dt{color:var(--soft)}
dd{margin:0;text-align:right;white-space:nowrap}
details{margin-top:8px;font-size:.84rem}summary{cursor:pointer;color:var(--soft)}code{font-size:.82rem;overflow-wrap:anywhere}
.members{margin:4px 0;padding:0;list-style:none}.members li{display:flex;justify-content:space-between}
.legend{max-width:78ch;font-size:.88rem;margin:16px 0}footer{padding-bottom:36px;font-size:.86rem}a{color:var(--accent)}
@media(max-width:520px){.badge{margin-left:0}h1{font-size:1.35rem}#coins{grid-template-columns:1fr}}
"""
