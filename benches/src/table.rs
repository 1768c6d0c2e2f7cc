//! From the rounds of each peer to medians, spread and ratios, as a Markdown table.

use crate::client::Measurement;
use crate::runner::{Kind, Load};
use std::fmt::Write as _;

/// All rounds of one peer under one load.
#[derive(Clone, Debug)]
pub struct Row {
    /// The peer's name.
    pub peer: String,
    /// What the peer is.
    pub kind: Kind,
    /// One entry for each round: figures, or why there are none (`wrong: ...`, `not run: ...`).
    pub rounds: Vec<Result<Measurement, String>>,
}

impl Row {
    /// The first reason why this row has no figures: one bad round spoils all of them.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        if self.rounds.is_empty() {
            return Some("not run");
        }
        self.rounds.iter().find_map(|round| round.as_ref().err().map(String::as_str))
    }

    fn rates(&self) -> Option<Vec<f64>> {
        self.column(|measurement| Some(measurement.rate))
    }

    fn rate(&self) -> Option<f64> {
        self.rates().map(median)
    }

    /// One figure of each round; `None` where a round went wrong or has no such figure.
    fn column(&self, figure: impl Fn(&Measurement) -> Option<f64>) -> Option<Vec<f64>> {
        if self.rounds.is_empty() {
            return None;
        }
        self.rounds.iter().map(|round| round.as_ref().ok().and_then(&figure)).collect()
    }
}

/// The middle value, or the mean of the middle two. Zero of nothing.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match (values.len() % 2, values.get(half)) {
        (_, None) => 0.0,
        (0, Some(upper)) => f64::midpoint(values[half - 1], *upper),
        (_, Some(middle)) => *middle,
    }
}

/// The table of all loads. Peers of one load stand together; the ratios are those of the medians beside them.
#[must_use]
pub fn render(results: &[(Load, Vec<Row>)]) -> String {
    let mut out = String::from(
        "| load | conns | depth | server | requests/s | spread | p50 us | p99 us | server CPU us/req | server busy \
         | client busy | of echo | of best peer |\n\
         | --- | --: | --: | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n",
    );
    for (load, rows) in results {
        let best = |kind| rows.iter().filter(|row| row.kind == kind).filter_map(Row::rate).reduce(f64::max);
        let (echo, peer) = (best(Kind::Echo), best(Kind::Peer));
        for row in rows {
            let Load { operation, connections, depth } = load;
            let _ = write!(out, "| {operation} | {connections} | {depth} | {} | ", row.peer);
            let _ = match (row.trouble(), row.rates()) {
                (None, Some(rates)) => writeln!(out, "{} |", figures(row, rates, echo, peer)),
                (trouble, _) => {
                    let (verdict, why) = split(trouble.unwrap_or("not run"));
                    writeln!(out, "{verdict} | | | | | | | | {why} |")
                }
            };
        }
    }
    out
}

/// `verdict: why`, fit for a cell of the table.
fn split(trouble: &str) -> (&str, String) {
    let (verdict, why) = trouble.split_once(": ").unwrap_or((trouble, ""));
    (verdict, why.replace(['|', '\n'], " "))
}

fn figures(row: &Row, rates: Vec<f64>, echo: Option<f64>, peer: Option<f64>) -> String {
    let (low, high) = rates.iter().fold((f64::MAX, 0_f64), |(low, high), rate| (low.min(*rate), high.max(*rate)));
    let rate = median(rates);
    let cell = |column: Option<Vec<f64>>, digits: usize| {
        column.map_or_else(|| "-".into(), |values| format!("{:.digits$}", median(values)))
    };
    let ratio = |other: Option<f64>| other.map_or_else(|| "-".into(), |other| format!("{:.2}", rate / other));
    format!(
        "{rate:.0} | {:.1} % | {} | {} | {} | {} | {} | {} | {}",
        100.0 * (high - low) / rate,
        cell(row.column(|m| Some(m.latency.p50)), 1),
        cell(row.column(|m| Some(m.latency.p99)), 1),
        cell(row.column(|m| m.server_cpu_us), 2),
        cell(row.column(|m| m.server_busy), 2),
        cell(row.column(|m| m.client_busy), 2),
        ratio(echo),
        if row.kind == Kind::Echo { "-".into() } else { ratio(peer) },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Latency;
    use crate::wire::Operation;

    fn measured(rate: f64) -> Result<Measurement, String> {
        let latency = Latency { p50: 10.0, p90: 11.0, p99: 12.0, p999: 13.0, max: 14.0 };
        Ok(Measurement {
            requests: 1,
            seconds: 1.0,
            rate,
            latency,
            server_cpu_us: Some(2.0),
            server_busy: None,
            client_busy: Some(0.5),
        })
    }

    fn row(peer: &str, kind: Kind, rounds: Vec<Result<Measurement, String>>) -> Row {
        Row { peer: peer.into(), kind, rounds }
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_middle_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
        assert_eq!(median(vec![]).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn a_row_shows_median_spread_and_ratios_and_one_wrong_round_leaves_no_figure() {
        let load = Load { operation: Operation::ReadTen, connections: 8, depth: 16 };
        let rows = vec![
            row("wharf", Kind::Wharf, vec![measured(300.0), measured(100.0), measured(200.0)]),
            row("slow", Kind::Peer, vec![measured(50.0)]),
            row("liar", Kind::Peer, vec![measured(9999.0), Err("wrong: data: byte 9 | is 00".into())]),
            row("echo", Kind::Echo, vec![measured(400.0)]),
            row("gone", Kind::Peer, vec![Err("not run: no such file".into())]),
        ];
        let table = render(&[(load, rows)]);
        let lines: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| fc3x10 | 8 | 16 | wharf | 200 | 100.0 % | 10.0 | 12.0 | 2.00 | - | 0.50 | 0.50 | 4.00 |",
                "| fc3x10 | 8 | 16 | slow | 50 | 0.0 % | 10.0 | 12.0 | 2.00 | - | 0.50 | 0.12 | 1.00 |",
                "| fc3x10 | 8 | 16 | liar | wrong | | | | | | | | data: byte 9   is 00 |",
                "| fc3x10 | 8 | 16 | echo | 400 | 0.0 % | 10.0 | 12.0 | 2.00 | - | 0.50 | 1.00 | - |",
                "| fc3x10 | 8 | 16 | gone | not run | | | | | | | | no such file |",
            ]
        );
        let columns = |line: &str| line.matches('|').count();
        assert!(table.lines().all(|line| columns(line) == columns(lines[0])), "{table}");
    }
}
