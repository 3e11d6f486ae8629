//! A sweep as one page of charts: a single HTML file that asks nobody for anything.
//!
//! No script runs and nothing is loaded; the charts are SVG, the colours follow the reader's choice
//! of light or dark, and every number is in a table too. The charts answer the sweep's question
//! directly: for each load, what share of the best chunk's rate does each chunk reach?

use std::collections::BTreeSet;
use std::fmt::Write;

use holdfast_core::size::Human;

use crate::load::Pattern;
use crate::stripe::{Advice, Cell};

/// What the page tells.
#[derive(Debug)]
pub struct Page<'a> {
    /// What was measured, in a line.
    pub title: &'a str,
    /// How it was measured: names and values.
    pub facts: &'a [(String, String)],
    /// The cells.
    pub cells: &'a [Cell],
    /// The advice.
    pub advice: &'a [Advice],
}

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1b2430;--soft:#5b6776;--paper:#f6f7f9;--card:#fff;--line:#dde2e8;
--accent:#0b63a5;--heat:11,99,165;--c0:#0b63a5;--c1:#c4560c;--c2:#1f8a4c;--c3:#8546b3;--c4:#a67c00;--c5:#b8306f}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa6b5;--paper:#12161c;--card:#1a2028;
--line:#2d3641;--accent:#6cb8f0;--heat:90,170,235;--c0:#6cb8f0;--c1:#f29a5a;--c2:#62c98c;--c3:#c596ee;
--c4:#dcb84a;--c5:#ef86b4}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,'Segoe UI',
Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 4px}
h2{font-size:1.25rem;margin:44px 0 6px}
h3{font-size:1rem;margin:26px 0 4px}
p{margin:4px 0 12px;max-width:76ch}
.soft{color:var(--soft)}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px 18px}
.advice{border-left:5px solid var(--accent);margin:20px 0}
.advice p{margin:0 0 8px;font-size:1.05rem}
code{font:0.9em/1.5 ui-monospace,'SF Mono',Menlo,Consolas,monospace}
.advice code{display:block;overflow-x:auto;white-space:nowrap}
dl{display:flex;flex-wrap:wrap;gap:6px 28px;margin:14px 0 0}
dl div{display:flex;gap:8px}dt{color:var(--soft)}dd{margin:0;font-variant-numeric:tabular-nums}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(320px,1fr));gap:16px;margin:12px 0}
figure{margin:0}figcaption{font-weight:600;margin-bottom:6px}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font-size:11px;fill:var(--soft)}
.axis{stroke:var(--line)}
.line{fill:none;stroke-width:2.25;stroke-linejoin:round;stroke-linecap:round}
.legend{display:flex;flex-wrap:wrap;gap:4px 20px;padding:0;margin:6px 0;list-style:none}
.legend li{display:flex;align-items:center;gap:8px}
.legend svg{width:34px;flex:none}
.scroll{overflow-x:auto;margin:8px 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:0.9rem}
caption{text-align:left;color:var(--soft);padding-bottom:6px}
th,td{padding:5px 12px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600}
tbody th,thead th:first-child{text-align:left}
details{margin-top:40px}summary{cursor:pointer;font-weight:600;font-size:1.1rem}
";

/// The page.
pub fn html(page: &Page<'_>) -> String {
    let mut out = String::new();
    let title = escape(page.title);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\">\n<title>{title}</title>\n<link rel=\"icon\" \
         href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n\
         <p class=\"soft\">Which stripe size? Each chunk under each load, and what it cost the members.</p>\n"
    );
    advice(&mut out, page.advice);
    out.push_str("<dl class=\"card\">\n");
    for (name, value) in page.facts {
        let (name, value) = (escape(name), escape(value));
        let _ = writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    out.push_str("</dl>\n");
    for level in levels(page.cells) {
        let cells: Vec<&Cell> = page.cells.iter().filter(|cell| cell.level == level).collect();
        level_section(&mut out, level, &cells);
    }
    numbers(&mut out, page.cells);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn advice(out: &mut String, advice: &[Advice]) {
    for advice in advice {
        let (words, ext4, xfs) =
            (escape(&advice.sentence), escape(&advice.mkfs_ext4), escape(&advice.mkfs_xfs));
        let _ = writeln!(
            out,
            "<section class=\"card advice\" aria-label=\"Advice for {}\"><p>{words}</p>\
             <code>{ext4}</code><code>{xfs}</code></section>",
            advice.level
        );
    }
}

fn levels(cells: &[Cell]) -> Vec<&'static str> {
    let mut levels: Vec<&'static str> = cells.iter().map(|cell| cell.level).collect();
    levels.dedup();
    levels
}

/// A request size and a depth: one line of a chart, one row of a table.
type Key = (u32, u32);

/// What the charts and tables of one level share.
struct Axes {
    chunks: Vec<u32>,
    keys: Vec<Key>,
    sizes: Vec<u32>,
    depths: Vec<u32>,
}

impl Axes {
    fn of(cells: &[&Cell]) -> Self {
        let set = |of: fn(&Cell) -> u32| -> Vec<u32> {
            cells.iter().map(|cell| of(cell)).collect::<BTreeSet<u32>>().into_iter().collect()
        };
        let keys = cells.iter().map(|cell| (cell.request_bytes, cell.depth));
        Self {
            keys: keys.collect::<BTreeSet<Key>>().into_iter().collect(),
            chunks: set(|cell| cell.chunk_bytes),
            sizes: set(|cell| cell.request_bytes),
            depths: set(|cell| cell.depth),
        }
    }

    /// Colour tells the size, dashes the depth.
    fn stroke(&self, (size, depth): Key) -> String {
        let colour = self.sizes.iter().position(|&other| other == size).unwrap_or(0) % 6;
        let dash = match self.depths.iter().rev().position(|&other| other == depth) {
            Some(0) | None => "",
            Some(1) => " stroke-dasharray=\"6 5\"",
            Some(_) => " stroke-dasharray=\"1.5 5\"",
        };
        format!("stroke=\"var(--c{colour})\"{dash}")
    }
}

fn level_section(out: &mut String, level: &str, cells: &[&Cell]) {
    let axes = Axes::of(cells);
    let members = cells[0].members;
    let _ = writeln!(out, "<h2>{level} of {members} members</h2>");
    if axes.chunks.len() > 1 {
        out.push_str(
            "<p class=\"soft\">Rate of each chunk size as a share of the best one for the same load. \
             A flat line at 100 % means that the chunk does not matter.</p>\n",
        );
        legend(out, &axes);
        out.push_str("<div class=\"grid\">\n");
        for pattern in Pattern::ALL {
            let cells: Vec<&Cell> =
                cells.iter().copied().filter(|cell| cell.pattern == pattern.name()).collect();
            if !cells.is_empty() {
                chart(out, pattern.title(), &axes, &cells);
            }
        }
        out.push_str("</div>\n");
    }
    heat(out, &axes, cells, "Rate, MB/s", 1, |cell| cell.mb_per_s);
    heat(out, &axes, cells, "Latency, 99 of 100 requests take at most … ms", 2, |cell| {
        cell.p99_us / 1000.0
    });
    heat(out, &axes, cells, "Member I/Os for each request of the array", 2, |cell| {
        cell.member_ios_per_io
    });
    heat(out, &axes, cells, "Bytes moved by members for each byte of the array", 2, |cell| {
        cell.member_bytes_per_byte
    });
}

fn legend(out: &mut String, axes: &Axes) {
    out.push_str("<ul class=\"legend\" aria-label=\"Lines\">\n");
    for &key in &axes.keys {
        let _ = writeln!(
            out,
            "<li><svg viewBox=\"0 0 34 10\" aria-hidden=\"true\"><path class=\"line\" d=\"M2 5H32\" {}/>\
             </svg>{} at depth {}</li>",
            axes.stroke(key),
            Human(key.0.into()),
            key.1
        );
    }
    out.push_str("</ul>\n");
}

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 40.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 180.0;

/// One pattern: chunks along, share of the best up, a line for each size and depth.
fn chart(out: &mut String, title: &str, axes: &Axes, cells: &[&Cell]) {
    let step = (WIDTH - LEFT - 20.0) / (axes.chunks.len().max(2) - 1) as f64;
    let x = |index: usize| LEFT + 6.0 + step * index as f64;
    let y = |share: f64| BOTTOM - (BOTTOM - TOP) * share;
    let _ = write!(
        out,
        "<figure class=\"card\"><figcaption>{title}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         role=\"img\" aria-label=\"{title}: share of the best chunk's rate, by chunk size; the numbers \
         are in the tables below\">\n"
    );
    for percent in [0, 25, 50, 75, 100] {
        let at = y(f64::from(percent) / 100.0);
        let _ = writeln!(
            out,
            "<path class=\"axis\" d=\"M{LEFT} {at:.1}H{WIDTH}\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{percent} %</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    for (index, &chunk) in axes.chunks.iter().enumerate() {
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x(index),
            BOTTOM + 18.0,
            Human(chunk.into())
        );
    }
    for &key in &axes.keys {
        line(out, axes, key, cells, &x, &y);
    }
    out.push_str("</svg></figure>\n");
}

fn line(
    out: &mut String,
    axes: &Axes,
    key: Key,
    cells: &[&Cell],
    x: &dyn Fn(usize) -> f64,
    y: &dyn Fn(f64) -> f64,
) {
    let rate = |chunk: u32| {
        let is_it =
            |cell: &&&Cell| cell.chunk_bytes == chunk && (cell.request_bytes, cell.depth) == key;
        cells.iter().find(is_it).map(|cell| cell.mb_per_s)
    };
    let best = axes.chunks.iter().filter_map(|&chunk| rate(chunk)).fold(0.0, f64::max);
    if best <= 0.0 {
        return;
    }
    let (mut path, mut points) = (String::new(), String::new());
    for (index, &chunk) in axes.chunks.iter().enumerate() {
        let Some(rate) = rate(chunk) else { continue };
        let (px, py) = (x(index), y(rate / best));
        let _ = write!(path, "{}{px:.1} {py:.1}", if path.is_empty() { "M" } else { "L" });
        let _ = write!(
            points,
            "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3.2\" fill=\"var(--card)\" stroke-width=\"1.75\" \
             {}><title>{} chunks, {} at depth {}: {rate:.1} MB/s, {:.0} % of the best</title></circle>",
            axes.stroke(key).split(" stroke-dasharray").next().unwrap_or_default(),
            Human(chunk.into()),
            Human(key.0.into()),
            key.1,
            rate * 100.0 / best
        );
    }
    let _ = writeln!(out, "<path class=\"line\" d=\"{path}\" {}/>{points}", axes.stroke(key));
}

/// A table of loads and chunks, darker where there is more.
fn heat(
    out: &mut String,
    axes: &Axes,
    cells: &[&Cell],
    title: &str,
    digits: usize,
    value: impl Fn(&Cell) -> f64,
) {
    let _ = write!(
        out,
        "<h3>{title}</h3>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">load</th>"
    );
    for &chunk in &axes.chunks {
        let head =
            if chunk == 0 { "no chunks".to_owned() } else { Human(chunk.into()).to_string() };
        let _ = write!(out, "<th scope=\"col\">{head}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for pattern in Pattern::ALL {
        for &(size, depth) in &axes.keys {
            let at = |chunk: u32| {
                let is_it = |cell: &&&Cell| {
                    (cell.pattern, cell.chunk_bytes, cell.request_bytes, cell.depth)
                        == (pattern.name(), chunk, size, depth)
                };
                cells.iter().find(is_it).map(|cell| value(cell))
            };
            let row: Vec<Option<f64>> = axes.chunks.iter().map(|&chunk| at(chunk)).collect();
            let most = row.iter().flatten().copied().fold(0.0, f64::max);
            if row.iter().all(Option::is_none) {
                continue;
            }
            let (name, size) = (pattern.name(), Human(size.into()));
            let _ = write!(out, "<tr><th scope=\"row\">{name}, {size} at depth {depth}</th>");
            for value in row {
                match value {
                    None => out.push_str("<td>–</td>"),
                    Some(value) => {
                        let share = if most > 0.0 { value / most } else { 0.0 };
                        let _ = write!(
                            out,
                            "<td style=\"background:rgba(var(--heat),{:.2})\">{value:.digits$}</td>",
                            share * share * 0.38
                        );
                    }
                }
            }
            out.push_str("</tr>\n");
        }
    }
    out.push_str("</tbody></table></div>\n");
}

/// Every number there is.
fn numbers(out: &mut String, cells: &[Cell]) {
    out.push_str(
        "<details><summary>Every number</summary>\n<div class=\"scroll\"><table>\n<thead><tr>",
    );
    for head in [
        "level",
        "chunk",
        "request",
        "pattern",
        "depth",
        "MB/s",
        "IOPS",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "spread",
        "I/Os per I/O",
        "bytes per byte",
        "rmw",
        "full",
        "CPU ns/B",
    ] {
        let _ = write!(out, "<th scope=\"col\">{head}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    let percent = |part: Option<f64>| part.map_or_else(|| "–".to_owned(), |p| format!("{p:.0} %"));
    for cell in cells {
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.1}</td>\
             <td>{:.0}</td><td>{:.1}</td><td>{:.1}</td><td>{:.1}</td><td>{:.1} %</td><td>{:.2}</td>\
             <td>{:.2}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            cell.level,
            Human(cell.chunk_bytes.into()),
            Human(cell.request_bytes.into()),
            cell.pattern,
            cell.depth,
            cell.mb_per_s,
            cell.iops,
            cell.p50_us,
            cell.p99_us,
            cell.p999_us,
            cell.spread_percent,
            cell.member_ios_per_io,
            cell.member_bytes_per_byte,
            percent(cell.rmw_percent),
            percent(cell.full_percent),
            cell.cpu_ns_per_byte.map_or_else(|| "–".to_owned(), |ns| format!("{ns:.3}")),
        );
    }
    out.push_str("</tbody></table></div></details>\n");
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use holdfast_raid::Level;

    use super::*;
    use crate::ground::Imagined;
    use crate::load::Limit;
    use crate::model::Model;
    use crate::stripe::{Sweep, advise};

    fn page() -> (Vec<Cell>, String) {
        let limit = Limit { requests: 20, time: None };
        let sweep = Sweep {
            levels: vec![Level::Raid1, Level::Raid5],
            chunks_bytes: vec![4096, 65536],
            requests_bytes: vec![4096],
            patterns: Pattern::ALL.to_vec(),
            depths: vec![1, 8],
            lost: 0,
            seed: 1,
            runs: 1,
            limit,
            warm_up: limit,
        };
        let mut ground = Imagined { model: Model::Ssd, members: 3, stop: &|| false };
        let mut cells = Vec::new();
        sweep.run(&mut ground, &mut |cell| cells.push(cell)).unwrap();
        let facts = [("members".to_owned(), "a <b> & \"c\".img".to_owned())];
        let advice = advise(&cells);
        let text = html(&Page { title: "a title", facts: &facts, cells: &cells, advice: &advice });
        (cells, text)
    }

    #[test]
    fn the_page_stands_alone() {
        let (_, text) = page();
        for outside in ["http:", "https:", "<script", "@import", "url(", "src="] {
            assert!(!text.contains(outside), "the page asks for {outside}");
        }
        assert!(text.contains("a &lt;b&gt; &amp; &quot;c&quot;.img"));
    }

    /// Every tag that is opened is closed, in order.
    #[test]
    fn the_page_is_well_formed() {
        let (_, text) = page();
        let mut open: Vec<&str> = Vec::new();
        for tag in text.split('<').skip(1) {
            let inside = tag.split_once('>').expect("tags end").0;
            let name = inside.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
            match inside {
                _ if inside.starts_with('!') || inside.ends_with('/') => {}
                _ if ["meta", "link"].contains(&name) => {}
                _ if inside.starts_with('/') => assert_eq!(open.pop(), Some(name)),
                _ => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn every_cell_is_in_the_tables_and_the_charts() {
        let (cells, text) = page();
        let numbers = text.split("Every number").nth(1).unwrap();
        assert_eq!(numbers.matches("<tr>").count(), cells.len() + 1);
        let striped = cells.iter().filter(|cell| cell.chunk_bytes > 0).count();
        assert_eq!(text.matches("<circle").count(), striped);
        assert_eq!(text.matches("<figure").count(), Pattern::ALL.len(), "raid1 has no chunks");
    }
}
