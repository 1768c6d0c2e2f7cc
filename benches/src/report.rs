//! What a benchmark found: tables that are printed as Markdown for people and as JSON for programs.

use crate::machine;
use crate::rounds::Ratio;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::{self, Write};

/// A figure or a word in a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A figure and how many digits behind the point are worth showing.
    Number(f64, usize),
    /// A figure with its `%`.
    Percent(f64),
    /// A median of ratios, with its quartiles if there is more than one round, and digits as above.
    Ratio(Ratio, usize),
    /// A figure that there is not: `-`.
    Missing,
    /// Nothing to say.
    Empty,
}

impl Cell {
    /// A figure that may be missing.
    #[must_use]
    pub fn number(value: Option<f64>, digits: usize) -> Self {
        value.map_or(Self::Missing, |value| Self::Number(value, digits))
    }

    /// A ratio that may be missing.
    #[must_use]
    pub fn ratio(value: Option<Ratio>, digits: usize) -> Self {
        value.map_or(Self::Missing, |value| Self::Ratio(value, digits))
    }

    /// A whole number.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of a run fit 52 bits")]
    pub fn count(value: u64) -> Self {
        Self::Number(value as f64, 0)
    }

    fn markdown(&self) -> String {
        match self {
            Self::Text(text) => text.replace(['|', '\n'], " "),
            Self::Number(value, digits) => format!("{value:.digits$}"),
            Self::Percent(value) => format!("{value:.1} %"),
            Self::Ratio(Ratio { median, rounds: 1, .. }, digits) => format!("{median:.digits$}"),
            Self::Ratio(Ratio { median, quartiles: [low, high], .. }, digits) => {
                format!("{median:.digits$} [{low:.digits$}-{high:.digits$}]")
            }
            Self::Missing => "-".into(),
            Self::Empty => String::new(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Number(value, _) | Self::Percent(value) | Self::Ratio(Ratio { median: value, .. }, _) => json!(value),
            Self::Missing | Self::Empty => Value::Null,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// One table. Every row has as many cells as there are columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What it is about; a name in JSON, and in Markdown a line above the table if it is not empty.
    pub title: String,
    /// Names of the columns; a row in JSON is an object of them. Columns of words begin with `<`, which is not shown.
    pub columns: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(title: impl Into<String>, columns: &[&'static str]) -> Self {
        Self { title: title.into(), columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row of `head` and what `figures` gives, which is asked only if there is no `trouble`.
    pub fn push(&mut self, head: Vec<Cell>, trouble: Option<&str>, figures: impl FnOnce() -> Vec<Cell>) {
        match trouble {
            Some(trouble) => self.push_trouble(head, trouble),
            None => self.rows.push(head.into_iter().chain(figures()).collect()),
        }
    }

    /// Adds a row that begins with `head` and has no figures: the verdict behind it, and the reason in the last column.
    pub fn push_trouble(&mut self, head: Vec<Cell>, trouble: &str) {
        let (verdict, why) = trouble.split_once(": ").unwrap_or((trouble, ""));
        let mut row = head;
        row.push(verdict.into());
        row.resize(self.columns.len() - 1, Cell::Empty);
        row.push(why.into());
        self.rows.push(row);
    }

    /// The table in Markdown, without its title.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        let mut line = |cells: &mut dyn Iterator<Item = String>| {
            for cell in cells {
                let _ = if cell.is_empty() { write!(out, "| ") } else { write!(out, "| {cell} ") };
            }
            out.push_str("|\n");
        };
        line(&mut self.columns.iter().map(|name| name.trim_start_matches('<').to_owned()));
        line(&mut self.columns.iter().map(|name| if name.starts_with('<') { "---" } else { "--:" }.to_owned()));
        for row in &self.rows {
            line(&mut row.iter().map(Cell::markdown));
        }
        out
    }

    fn json(&self) -> Value {
        let row = |row: &Vec<Cell>| {
            let mut object = Map::new();
            for (column, cell) in self.columns.iter().zip(row) {
                let name = column.trim_start_matches('<');
                object.insert(name.to_owned(), cell.json());
                if let Cell::Ratio(ratio, _) = cell {
                    object.insert(format!("{name}, quartiles"), json!(ratio.quartiles));
                }
            }
            Value::Object(object)
        };
        json!({ "title": self.title, "rows": self.rows.iter().map(row).collect::<Vec<_>>() })
    }
}

/// All that one command has to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The command.
    pub bench: &'static str,
    /// Name and value: the computer, how it was measured, what was left out.
    pub facts: Vec<(&'static str, String)>,
    /// The figures.
    pub tables: Vec<Table>,
}

impl Report {
    /// A report that begins with the facts about this computer.
    #[must_use]
    pub fn new(bench: &'static str) -> Self {
        Self { bench, facts: machine::facts(), tables: Vec::new() }
    }

    /// Adds a fact.
    pub fn fact(&mut self, name: &'static str, value: impl Into<String>) {
        self.facts.push((name, value.into()));
    }

    /// Whether every row has figures, or at least nothing in it went wrong.
    #[must_use]
    pub fn is_right(&self) -> bool {
        let cells = self.tables.iter().flat_map(|table| &table.rows).flatten();
        cells.filter(|cell| **cell == Cell::Text("wrong".into())).count() == 0
    }

    /// Prints the report for people, or for programs if `json` says so.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn print(&self, out: &mut impl Write, json: bool) -> io::Result<()> {
        if json {
            let facts: Map<_, _> = self.facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            let tables: Vec<Value> = self.tables.iter().map(Table::json).collect();
            return writeln!(out, "{}", json!({ "bench": self.bench, "facts": facts, "tables": tables }));
        }
        for (name, value) in &self.facts {
            writeln!(out, "* {name}: {value}")?;
        }
        for table in &self.tables {
            writeln!(out)?;
            if !table.title.is_empty() {
                writeln!(out, "{}\n", table.title)?;
            }
            write!(out, "{}", table.markdown())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut table = Table::new("Echo", &["<server", "rate", "spread", "note"]);
        table.rows.push(vec!["wharf".into(), Cell::Number(1234.56, 1), Cell::Percent(2.0), Cell::Missing]);
        table.push_trouble(vec!["gone".into()], "not run: no | file");
        Report { bench: "echo", facts: vec![("cores", "2".into())], tables: vec![table] }
    }

    #[test]
    fn people_get_markdown() {
        let mut out = Vec::new();
        report().print(&mut out, false).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "* cores: 2\n\nEcho\n\n| server | rate | spread | note |\n| --- | --: | --: | --: |\n\
             | wharf | 1234.6 | 2.0 % | - |\n| gone | not run | | no   file |\n"
        );
    }

    #[test]
    fn a_ratio_has_its_quartiles_unless_it_is_of_one_round() {
        let ratio = |rounds| Ratio { median: 0.987, quartiles: [0.95, 1.04], rounds };
        assert_eq!(Cell::Ratio(ratio(5), 2).markdown(), "0.99 [0.95-1.04]");
        assert_eq!(Cell::Ratio(ratio(1), 2).markdown(), "0.99");
        let mut table = Table::new("", &["to it"]);
        table.rows.push(vec![Cell::Ratio(ratio(5), 2)]);
        assert_eq!(table.json()["rows"][0], json!({ "to it": 0.987, "to it, quartiles": [0.95, 1.04] }));
    }

    #[test]
    fn programs_get_the_same_as_json_with_all_digits() {
        let mut out = Vec::new();
        report().print(&mut out, true).unwrap();
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["facts"]["cores"], "2");
        assert_eq!(value["tables"][0]["rows"][0]["rate"], 1234.56);
        assert_eq!(value["tables"][0]["rows"][0]["note"], Value::Null);
        assert_eq!(value["tables"][0]["rows"][1]["rate"], "not run");
    }
}
