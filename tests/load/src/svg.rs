//! Plots a comparison: a bar per scenario, with the second server's cost relative to the first.

use std::fmt::Write;

use crate::compare::{Results, Row};
use crate::table::{Setting, ratio};

const WIDTH: usize = 940;
const TOP: usize = 58;
const LINE: usize = 22;
const BAR: usize = 13;

/// Start of the bars, and length of the first server's.
const LEFT: usize = 360;
const WHOLE: usize = 340;

/// Longer bars are cut here, with their number beside them.
const MOST: f64 = 1.12;

/// Colours visible on white and black pages.
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#24292f}\
.title{font-size:15px;font-weight:600}\
.small{font-size:11px;fill:#57606a}\
.good{fill:#1a7f5a}.bad{fill:#bc4c00}\
.whole{fill:#8c959f;opacity:.25}\
.one{stroke:#57606a;stroke-dasharray:3 3}\
@media(prefers-color-scheme:dark){\
text{fill:#e6edf3}.small{fill:#9198a1}.good{fill:#3fb68b}.bad{fill:#f0883e}\
.whole{fill:#9198a1}.one{stroke:#9198a1}}";

/// Plots the first measure of each scenario.
pub(crate) fn plot(results: &Results, setting: &Setting) -> String {
    let rows = results.first_rows();
    let notes = setting.lines();
    let bottom = TOP + rows.len() * LINE + 8;
    let height = bottom + notes.len() * 15 + 10;
    let (theirs, ours) = (escape(&setting.labels[0]), escape(&setting.labels[1]));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\" \
         aria-label=\"{ours} compared to {theirs}\">\n<style>{STYLE}</style>\n\
         <text class=\"title\" x=\"12\" y=\"24\">What {ours} needs, in parts of what {theirs} \
         does</text>\n<text class=\"small\" x=\"12\" y=\"42\">shorter is better; the dashed line \
         is {theirs}</text>\n"
    );
    for (index, row) in rows.iter().enumerate() {
        bar(&mut svg, row, TOP + index * LINE);
    }
    let one = LEFT + WHOLE;
    let _ = writeln!(
        svg,
        "<line class=\"one\" x1=\"{one}\" x2=\"{one}\" y1=\"{}\" y2=\"{bottom}\"/>",
        TOP - 6
    );
    for (index, note) in notes.iter().enumerate() {
        let y = bottom + 16 + index * 15;
        let _ = writeln!(svg, "<text class=\"small\" x=\"12\" y=\"{y}\">{}</text>", escape(note));
    }
    svg + "</svg>\n"
}

fn bar(svg: &mut String, row: &Row, top: usize) {
    let Some(value) = row.ratios.get(1).copied().flatten() else { return };
    let shown = |index: usize| {
        let value = row.medians.get(index).copied().flatten();
        value.map_or(String::new(), |v| row.measure.show(v))
    };
    let length = (value.clamp(0.004, MOST) * WHOLE as f64).round();
    let class = if value <= 1.0 { "good" } else { "bad" };
    let text = top + 11;
    let after = LEFT + (MOST * WHOLE as f64) as usize + 8;
    let _ = writeln!(
        svg,
        "<text x=\"12\" y=\"{text}\">{}</text>\
         <rect class=\"whole\" x=\"{LEFT}\" y=\"{top}\" width=\"{WHOLE}\" height=\"{BAR}\"/>\
         <rect class=\"{class}\" x=\"{LEFT}\" y=\"{top}\" width=\"{length}\" height=\"{BAR}\"/>\
         <text x=\"{after}\" y=\"{text}\">{}<title>{} to {}</title></text>\
         <text class=\"small\" x=\"{}\" y=\"{text}\">{}</text>",
        escape(row.about),
        ratio(value),
        shown(1),
        shown(0),
        after + 42,
        escape(row.measure.label),
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::example;

    #[test]
    fn a_bar_is_as_long_as_its_ratio() {
        let (results, setting) = example();
        let svg = plot(&results, &setting);
        let bars = svg.matches("class=\"good\"").count();
        assert_eq!(bars, 2);
        let length = (0.11 * WHOLE as f64).round();
        assert!(svg.contains(&format!("width=\"{length}\"")), "{svg}");
        assert!(svg.contains(">0.11<"), "{svg}");
        assert!(svg.contains("ACME 9, 2 cores"), "{svg}");
    }

    #[test]
    fn it_is_readable_in_the_dark_and_well_formed() {
        let (results, mut setting) = example();
        setting.labels[1] = "a<b & \"c\"".into();
        let svg = plot(&results, &setting);
        assert!(svg.contains("prefers-color-scheme:dark"));
        assert!(svg.contains("a&lt;b &amp; &quot;c&quot;"));
        for tag in ["svg", "text", "title", "style"] {
            let opened =
                svg.matches(&format!("<{tag}>")).count() + svg.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, svg.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}
