#include "core/pipeline/report_html_style.h"

namespace quantd {
namespace {

constexpr absl::string_view kStyle = R"css(
:root{color-scheme:light dark;--ground:#f6f7f9;--panel:#fff;--text:#1b2230;--soft:#566073;--line:#d9dee7;
--accent:#2f5fc4;--mark:#b3261e;--warn:#7a4b00;--warnground:#fff4dd}
@media(prefers-color-scheme:dark){:root{--ground:#12161d;--panel:#1b212b;--text:#e6eaf1;--soft:#a3adbd;--line:#343d4c;
--accent:#4a78dd;--mark:#ff8a80;--warn:#ffd48a;--warnground:#3a2e16}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--text);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:72rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.6rem;line-height:1.25;margin:0;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.2rem 0 .7rem}
.soft,figcaption,dt{color:var(--soft)}
.verdict{font-size:1.3rem;line-height:1.4;margin:.6rem 0 .2rem;font-weight:600}
.cards{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));margin:1.4rem 0 0;padding:0}
.card,figure,.panel{background:var(--panel);border:1px solid var(--line);border-radius:.6rem}
.card{padding:.8rem 1rem;list-style:none}
.card b{display:block;font-size:1.6rem;line-height:1.3;font-weight:650}
.card span{display:block;color:var(--soft);font-size:.88rem;line-height:1.4}
.plots{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr))}
figure{margin:0;padding:.8rem 1rem;min-width:0}
figure h3{font-size:1rem;margin:0 0 .4rem}
figcaption{font-size:.88rem;margin-top:.3rem}
svg{display:block;width:100%;height:auto}
svg text{font-size:12px;fill:var(--text)}
svg .on text{fill:#fff}
svg .fill{fill:var(--accent)}
svg .bar{stroke:var(--accent);stroke-width:2}
svg .grid{stroke:var(--line);stroke-width:1}
svg .mark{stroke:var(--mark);stroke-width:1.5;stroke-dasharray:4 3}
.scroll{overflow-x:auto;padding:.2rem .4rem}
table{border-collapse:collapse;width:100%;font-size:.88rem}
th,td{padding:.35rem .5rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child,.left{text-align:left}
thead th{color:var(--soft);font-weight:600}
td.notes{white-space:normal;min-width:15rem}
tbody th{font-weight:400}
dl{display:grid;grid-template-columns:minmax(8rem,max-content) 1fr;gap:.25rem 1.2rem;margin:0;padding:.8rem 1rem}
dd{margin:0;overflow-wrap:anywhere}
code,pre{font:.86em/1.5 ui-monospace,Menlo,Consolas,monospace}
pre{margin:0;padding:.8rem 1rem;overflow-x:auto}
.warnings{background:var(--warnground);color:var(--warn);border-radius:.6rem;padding:.7rem 1rem .7rem 2rem;margin:1.2rem 0 0}
summary{cursor:pointer;padding:.4rem 0}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
@media(max-width:36rem){dl{grid-template-columns:1fr}dd{margin-bottom:.5rem}main{padding-top:1rem}}
@media print{body{background:#fff}.card,figure,.panel{break-inside:avoid}}
)css";

}  // namespace

absl::string_view ReportStyle() {
  return kStyle;
}

}  // namespace quantd
