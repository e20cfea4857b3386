//! Results as one page that needs nothing else: shares, latencies and requests over time, drawn as
//! SVG.

use std::fmt::Write;

use crate::testbed::Simulated;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;\
padding:0 1rem;color:#222;background:#fff}h2{margin-top:2.5rem}table{border-collapse:collapse}\
th,td{text-align:right;white-space:nowrap;padding:.15rem .8rem;border-bottom:1px solid #ddd}\
th:first-child,td:first-child{text-align:left}svg{width:100%;height:auto;margin:.5rem 0}\
text{font:11px system-ui,sans-serif;fill:currentColor}figcaption{font-size:.85rem}figure{margin:1rem 0}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}th,td{border-color:#444}}";
/// Told apart by people who do not see all colours (Okabe and Ito).
const COLOURS: [&str; 8] = [
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#b8a800", "#888888",
];
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 180.0;
/// Room for numbers at the left and below.
const LEFT: f64 = 60.0;
const BELOW: f64 = 20.0;

pub(super) fn of(about: &str, results: &[(String, Simulated)]) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Policies under a load</title><style>{STYLE}</style>\n\
         <h1>Policies under a load</h1>\n<p>{}</p>\n",
        escaped(about)
    );
    out += &comparison(results);
    let slowest = results.iter().flat_map(|(_, result)| &result.windows);
    let slowest = slowest
        .map(|window| f64::from(window.p99_us))
        .fold(1.0, f64::max);
    for (policy, result) in results {
        let _ = writeln!(out, "<h2>{}</h2>", escaped(policy));
        out += &latencies(result, slowest);
        out += &requests(result);
    }
    out
}

fn comparison(results: &[(String, Simulated)]) -> String {
    let mut out = "<table><tr><th>policy<th>imbalance<th>moved<th>mean<th>p50<th>p99<th>max\
                   <th>failed</tr>\n"
        .to_owned();
    let ms = |us: f64| format!("{:.1} ms", us / 1000.0);
    for (policy, result) in results {
        let moved = match result.moved {
            Some((moved, of)) if of > 0 => format!("{:.1} %", 100.0 * moved as f64 / of as f64),
            _ => "–".to_owned(),
        };
        let _ = writeln!(
            out,
            "<tr><td>{}<td>{:.2}<td>{moved}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            escaped(policy),
            result.imbalance,
            ms(result.mean_us),
            ms(result.p50_us.into()),
            ms(result.p99_us.into()),
            ms(result.max_us.into()),
            result.failed
        );
    }
    out + "</table>\n"
}

/// A place in a plot: `x` and `y` from 0 to 1.
fn place(x: f64, y: f64) -> (f64, f64) {
    let across = LEFT + x * (WIDTH - LEFT);
    (across, (HEIGHT - BELOW) * (1.0 - y))
}

/// A plot with its axes, in which `drawn` stands.
fn plot(caption: &str, most: &str, result: &Simulated, drawn: &str) -> String {
    let (left, bottom) = place(0.0, 0.0);
    let window = result.windows.get(1).map_or(0, |window| window.from_us);
    let until = window as f64 * result.windows.len() as f64 / 1e6;
    format!(
        "<figure><figcaption>{caption}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\
         <path d=\"M{left} 0V{bottom}H{WIDTH}\" fill=\"none\" stroke=\"currentColor\"/>\
         <text x=\"{x}\" y=\"11\" text-anchor=\"end\">{most}</text>\
         <text x=\"{x}\" y=\"{bottom}\" text-anchor=\"end\">0</text>\
         <text x=\"{left}\" y=\"{below}\">0 s</text>\
         <text x=\"{WIDTH}\" y=\"{below}\" text-anchor=\"end\">{until:.1} s</text>{drawn}</svg></figure>\n",
        x = left - 6.0,
        below = bottom + 14.0,
    )
}

/// The time that 99 of 100 requests took, over time.
fn latencies(result: &Simulated, most_us: f64) -> String {
    let last = result.windows.len().saturating_sub(1).max(1) as f64;
    let points: Vec<String> = result
        .windows
        .iter()
        .enumerate()
        .map(|(number, window)| {
            let (x, y) = place(number as f64 / last, f64::from(window.p99_us) / most_us);
            format!("{x:.1},{y:.1}")
        })
        .collect();
    let line = format!(
        "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\" points=\"{}\"/>",
        COLOURS[0],
        points.join(" ")
    );
    let most = format!("{:.0} ms", most_us / 1000.0);
    plot("99 of 100 requests took less than", &most, result, &line)
}

/// The requests of each server, over time, one on top of the other.
fn requests(result: &Simulated) -> String {
    let sums = result.windows.iter();
    let sums = sums.map(|window| window.requests.iter().sum::<u32>());
    let most = f64::from(sums.max().unwrap_or(1).max(1));
    let last = result.windows.len().saturating_sub(1).max(1) as f64;
    let mut below = vec![0.0; result.windows.len()];
    let (mut drawn, mut legend) = (String::new(), String::new());
    for (server, of) in result.servers.iter().enumerate() {
        let colour = COLOURS[server % COLOURS.len()];
        let mut above = below.clone();
        for (sum, window) in above.iter_mut().zip(&result.windows) {
            *sum += f64::from(window.requests.get(server).copied().unwrap_or(0));
        }
        let edge = |sums: &[f64]| -> Vec<String> {
            let places = sums.iter().enumerate();
            let places = places.map(|(number, sum)| place(number as f64 / last, sum / most));
            places.map(|(x, y)| format!("{x:.1},{y:.1}")).collect()
        };
        let mut points = edge(&above);
        points.extend(edge(&below).into_iter().rev());
        let name = escaped(&of.name);
        let _ = write!(
            drawn,
            "<polygon fill=\"{colour}\" points=\"{}\"><title>{name}: {}</title></polygon>",
            points.join(" "),
            of.requests
        );
        if server < COLOURS.len() {
            let _ = write!(
                legend,
                " <span style=\"color:{colour}\">&#9632;</span> {name}: {}",
                of.requests
            );
        }
        below = above;
    }
    let caption = format!("requests of each server:{legend}");
    plot(&caption, &format!("{most:.0}"), result, &drawn)
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}
