//! From the rounds of each peer to medians, spread and ratios, as a Markdown table.

use crate::client::Measurement;
use crate::report::{Cell, Table};
use crate::rounds::{Rounds, median, spread};
use crate::runner::{Kind, Load};

/// All rounds of one peer under one load.
#[derive(Clone, Debug)]
pub struct Row {
    /// The peer's name.
    pub peer: String,
    /// What the peer is.
    pub kind: Kind,
    /// Its figures.
    pub rounds: Rounds<Measurement>,
}

impl Row {
    fn rate(&self) -> Option<f64> {
        self.rounds.column(|measurement| Some(measurement.rate)).map(median)
    }
}

const COLUMNS: [&str; 13] = [
    "<load",
    "conns",
    "depth",
    "<server",
    "requests/s",
    "spread",
    "p50 us",
    "p99 us",
    "server CPU us/req",
    "server busy",
    "client busy",
    "of echo",
    "of best peer",
];

/// The table of all loads. Peers of one load stand together; the ratios are those of the medians beside them.
#[must_use]
pub fn render(results: &[(Load, Vec<Row>)]) -> String {
    let mut table = Table::new("", &COLUMNS);
    for (load, rows) in results {
        let best = |kind| rows.iter().filter(|row| row.kind == kind).filter_map(Row::rate).reduce(f64::max);
        let (echo, peer) = (best(Kind::Echo), best(Kind::Peer));
        for row in rows {
            let Load { operation, connections, depth } = load;
            let number = |number: &usize| Cell::count(*number as u64);
            let mut cells =
                vec![operation.to_string().into(), number(connections), number(depth), row.peer.clone().into()];
            match (row.rounds.trouble(), row.rounds.column(|measurement| Some(measurement.rate))) {
                (None, Some(rates)) => {
                    cells.extend(figures(row, rates, echo, peer));
                    table.rows.push(cells);
                }
                (trouble, _) => table.push_trouble(cells, trouble.unwrap_or("not run")),
            }
        }
    }
    table.markdown()
}

fn figures(row: &Row, rates: Vec<f64>, echo: Option<f64>, peer: Option<f64>) -> Vec<Cell> {
    let (spread, rate) = (spread(&rates), median(rates));
    let cell = |digits, figure: &dyn Fn(&Measurement) -> Option<f64>| {
        Cell::number(row.rounds.column(figure).map(median), digits)
    };
    let ratio = |other: Option<f64>| Cell::number(other.map(|other| rate / other), 2);
    vec![
        Cell::Number(rate, 0),
        Cell::Percent(spread),
        cell(1, &|m| Some(m.latency.p50)),
        cell(1, &|m| Some(m.latency.p99)),
        cell(2, &|m| m.server_cpu_us),
        cell(2, &|m| m.server_busy),
        cell(2, &|m| m.client_busy),
        ratio(echo),
        if row.kind == Kind::Echo { Cell::Missing } else { ratio(peer) },
    ]
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
        Row { peer: peer.into(), kind, rounds: Rounds(rounds) }
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
