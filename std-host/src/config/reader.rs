//! A hand-driven walk over a parsed plant file.
//!
//! A [`Reader`] stands on a table and is asked for its keys; an [`Item`] stands on a value and is asked to be of a
//! type. Neither stops at a problem: it is noted in the [`Report`], the caller goes on with a default, and the plant is
//! thrown away at the end. What a reader was asked for is at the same time the list of keys that it accepts, so keys
//! and messages cannot drift apart.

use super::error::{Errors, Kind, Position, Problem};
use super::scalar;
use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The longest span a key may ask for: the loop's timers count milliseconds in 32 bits.
const LONGEST_SPAN: Duration = Duration::from_secs(1193 * 3600);
/// How much of a text a message repeats.
const QUOTED: usize = 60;

/// The problems of one file, gathered while it is read.
#[derive(Debug)]
pub(super) struct Report<'a> {
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Report<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, problems: RefCell::new(Vec::new()) }
    }

    /// Notes a problem at a byte offset of the file.
    pub(super) fn note(&self, at: usize, key: &str, kind: Kind, message: String, accepted: Option<String>) {
        let position = Some(self.position(at));
        self.problems.borrow_mut().push(Problem { kind, position, key: key.to_owned(), message, accepted });
    }

    /// The outcome: `value`, unless there were problems.
    pub(super) fn conclude<T>(self, file: &str, value: T) -> Result<T, Errors> {
        let mut problems = self.problems.into_inner();
        if problems.is_empty() {
            return Ok(value);
        }
        problems.sort_by_key(|problem| problem.position);
        Err(Errors { file: file.to_owned(), problems })
    }

    fn position(&self, at: usize) -> Position {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).map_or(0, |line| line.chars().count()) + 1;
        Position { line: before.matches('\n').count() + 1, column }
    }
}

/// A value and how one gets there.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    value: &'a Spanned<DeValue<'a>>,
    path: String,
    report: &'a Report<'a>,
}

impl<'a> Item<'a> {
    pub(super) fn line(&self) -> usize {
        self.report.position(self.value.span().start).line
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    pub(super) fn is_list(&self) -> bool {
        self.value.get_ref().is_array()
    }

    pub(super) fn is_text(&self) -> bool {
        self.value.get_ref().is_str()
    }

    pub(super) fn is_integer(&self) -> bool {
        self.value.get_ref().is_integer()
    }

    pub(super) fn is_flag(&self) -> bool {
        self.value.get_ref().is_bool()
    }

    pub(super) fn note(&self, kind: Kind, message: impl Into<String>, accepted: Option<String>) {
        self.report.note(self.value.span().start, &self.path, kind, message.into(), accepted);
    }

    /// Notes that the value is not among those accepted.
    pub(super) fn refuse(&self, accepted: impl Into<String>) {
        self.note(Kind::NotAccepted, format!("found {}", self.found()), Some(accepted.into()));
    }

    /// Notes that the value is of the wrong type.
    pub(super) fn mistyped(&self, accepted: impl Into<String>) {
        self.note(Kind::WrongType, format!("found {}", self.found()), Some(accepted.into()));
    }

    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.value.get_ref().as_bool();
        if flag.is_none() {
            self.mistyped("true or false");
        }
        flag
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        let text = self.value.get_ref().as_str();
        if text.is_none() {
            self.mistyped("a string");
        }
        text
    }

    /// A text without control characters, of 1 to `longest` bytes.
    pub(super) fn line_of_text(&self, longest: usize) -> Option<String> {
        let text = self.text()?;
        if text.is_empty() || text.len() > longest || text.contains(char::is_control) {
            self.refuse(format!("1 to {longest} bytes without control characters"));
            return None;
        }
        Some(text.to_owned())
    }

    /// A name by which entries find each other.
    pub(super) fn name(&self) -> Option<String> {
        self.name_within(64)
    }

    /// A name of at most `longest` bytes.
    pub(super) fn name_within(&self, longest: usize) -> Option<String> {
        let text = self.text()?;
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if text.is_empty() || text.len() > longest || !text.chars().all(fits) {
            self.refuse(format!("1 to {longest} letters, digits, '.', '_' or '-'"));
            return None;
        }
        Some(text.to_owned())
    }

    pub(super) fn integer<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let accepted = || format!("{}..={}", range.start(), range.end());
        let DeValue::Integer(integer) = self.value.get_ref() else {
            self.mistyped(accepted());
            return None;
        };
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok().and_then(|n| T::try_from(n).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.refuse(accepted());
        }
        number
    }

    /// A span; zero is off and comes back as `None` within `Some`.
    pub(super) fn span_or_off(&self) -> Option<Option<Duration>> {
        let Some(text) = self.value.get_ref().as_str() else {
            self.mistyped(scalar::SPAN);
            return None;
        };
        match scalar::parse_span(text) {
            Some(span) if span <= LONGEST_SPAN => Some((!span.is_zero()).then_some(span)),
            Some(_) => {
                self.refuse(format!("at most \"{}\"", scalar::format_span(LONGEST_SPAN)));
                None
            }
            None => {
                self.refuse(scalar::SPAN);
                None
            }
        }
    }

    /// A span that is not shorter than `least`.
    pub(super) fn span_of_at_least(&self, least: Duration) -> Option<Duration> {
        let span = self.span_or_off()?.unwrap_or_default();
        if span < least {
            self.refuse(format!("at least \"{}\"", scalar::format_span(least)));
            return None;
        }
        Some(span)
    }

    /// A number as it is written, an integer in decimal; described as `accepted` if it is none.
    pub(super) fn numeral(&self, accepted: &str) -> Option<String> {
        match self.value.get_ref() {
            DeValue::Integer(integer) => {
                let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
                if number.is_none() {
                    self.refuse(accepted);
                }
                number.map(|number| number.to_string())
            }
            DeValue::Float(float) => Some(float.as_str().to_owned()),
            DeValue::String(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                self.mistyped(accepted);
                None
            }
        }
    }

    /// A finite number.
    pub(super) fn real(&self) -> Option<f64> {
        const ACCEPTED: &str = "a finite number";
        let real = self.numeral(ACCEPTED)?.parse().ok().filter(|real: &f64| real.is_finite());
        if real.is_none() {
            self.refuse(ACCEPTED);
        }
        real
    }

    /// A span of whole seconds within `seconds`, in seconds.
    pub(super) fn whole_seconds(&self, seconds: RangeInclusive<u32>) -> Option<u32> {
        let span = self.span_or_off()?.unwrap_or_default();
        let whole = u32::try_from(span.as_secs()).ok().filter(|s| seconds.contains(s) && span.subsec_nanos() == 0);
        if whole.is_none() {
            self.refuse(format!("whole seconds, \"{}s\" to \"{}s\"", seconds.start(), seconds.end()));
        }
        whole
    }

    /// A part of a whole: 0.0..=1.0.
    pub(super) fn fraction(&self) -> Option<f64> {
        const ACCEPTED: &str = "0.0..=1.0";
        let fraction = self.numeral(ACCEPTED)?.parse().ok().filter(|fraction| (0.0..=1.0).contains(fraction));
        if fraction.is_none() {
            self.refuse(ACCEPTED);
        }
        fraction
    }

    /// A size in bytes within `range`.
    pub(super) fn size(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let bytes = match self.value.get_ref() {
            DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            DeValue::String(text) => scalar::parse_size(text),
            DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                self.mistyped(scalar::SIZE);
                return None;
            }
        };
        let Some(bytes) = bytes else {
            self.refuse(scalar::SIZE);
            return None;
        };
        let fits = u32::try_from(bytes).ok().filter(|bytes| range.contains(bytes));
        if fits.is_none() {
            let bound = |bytes: &u32| scalar::format_size(u64::from(*bytes));
            self.refuse(format!("{} to {}", bound(range.start()), bound(range.end())));
        }
        fits
    }

    /// One of the named values.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let chosen = self.value.get_ref().as_str().map(|text| choices.iter().find(|(name, _)| *name == text));
        let accepted = || list(choices.iter().map(|(name, _)| format!("\"{name}\"")));
        match chosen {
            Some(Some((_, value))) => Some(*value),
            Some(None) => {
                self.refuse(accepted());
                None
            }
            None => {
                self.mistyped(accepted());
                None
            }
        }
    }

    /// A value that is planned but not implemented: notes so and says true.
    pub(super) fn is_not_yet(&self, planned: &str) -> bool {
        let hit = self.value.get_ref().as_str() == Some(planned);
        if hit {
            self.note(Kind::NotSupported, format!("\"{planned}\" is not supported by this version yet"), None);
        }
        hit
    }

    /// The elements of a list, described as `what` if it is none.
    pub(super) fn list(&self, what: &str) -> Option<Vec<Item<'a>>> {
        let DeValue::Array(array) = self.value.get_ref() else {
            self.mistyped(what);
            return None;
        };
        let element = |(index, value)| Item { value, path: format!("{}[{index}]", self.path), report: self.report };
        Some(array.iter().enumerate().map(element).collect())
    }

    /// The elements of a list, each read by `read`. Elements that cannot be read are left out, with a problem noted.
    pub(super) fn each<T>(&self, what: &str, read: impl FnMut(Item<'a>) -> Option<T>) -> Option<Vec<T>> {
        Some(self.list(what)?.into_iter().filter_map(read).collect())
    }

    /// Reads a table; keys that `read` did not ask for are problems.
    pub(super) fn table<T>(&self, read: impl FnOnce(&mut Reader<'a>) -> T) -> Option<T> {
        let DeValue::Table(table) = self.value.get_ref() else {
            self.mistyped("a table");
            return None;
        };
        let mut reader = Reader::new(table, self.value.span(), self.path.clone(), self.report);
        let value = read(&mut reader);
        reader.finish();
        Some(value)
    }

    /// The value, for messages.
    pub(super) fn found(&self) -> String {
        match self.value.get_ref() {
            DeValue::String(text) if text.chars().count() > QUOTED => {
                format!("{:?} and more", text.chars().take(QUOTED).collect::<String>())
            }
            DeValue::String(text) => format!("{text:?}"),
            DeValue::Integer(integer) => integer.to_string(),
            DeValue::Float(float) => float.as_str().to_owned(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(date) => format!("the date {date}"),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }
}

/// A table whose keys are asked for one by one.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    table: &'a DeTable<'a>,
    span: Range<usize>,
    path: String,
    asked: Vec<&'static str>,
    planned: &'static [&'static str],
    is_open: bool,
    report: &'a Report<'a>,
}

impl<'a> Reader<'a> {
    /// Reads the whole file.
    pub(super) fn root<T>(
        document: &'a Spanned<DeTable<'a>>,
        report: &'a Report<'a>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let mut reader = Self::new(document.get_ref(), document.span(), String::new(), report);
        let value = read(&mut reader);
        reader.finish();
        value
    }

    const fn new(table: &'a DeTable<'a>, span: Range<usize>, path: String, report: &'a Report<'a>) -> Self {
        Self { table, span, path, asked: Vec::new(), planned: &[], is_open: false, report }
    }

    pub(super) fn line(&self) -> usize {
        self.report.position(self.span.start).line
    }

    /// How many problems the file has so far: a check against what was just read makes sense only if it has no new ones.
    pub(super) fn problems(&self) -> usize {
        self.report.problems.borrow().len()
    }

    /// Notes a problem with the table as a whole.
    pub(super) fn note(&self, kind: Kind, message: impl Into<String>, accepted: Option<String>) {
        self.report.note(self.span.start, &self.path, kind, message.into(), accepted);
    }

    /// The value of a key, if it is there.
    pub(super) fn item(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.asked.push(key);
        Some(Item { value: self.table.get(key)?, path: self.path_of(key), report: self.report })
    }

    /// The value of a key as `read` sees it: `None` if it is absent or wrong.
    pub(super) fn option<T>(&mut self, key: &'static str, read: impl FnOnce(Item<'a>) -> Option<T>) -> Option<T> {
        self.item(key).and_then(read)
    }

    /// The same with a default.
    pub(super) fn or<T>(&mut self, key: &'static str, default: T, read: impl FnOnce(Item<'a>) -> Option<T>) -> T {
        self.option(key, read).unwrap_or(default)
    }

    /// The same for a key that must be there.
    pub(super) fn need<T>(
        &mut self,
        key: &'static str,
        accepted: &str,
        read: impl FnOnce(Item<'a>) -> Option<T>,
    ) -> Option<T> {
        let item = self.item(key);
        if item.is_none() {
            self.missing(key, accepted);
        }
        item.and_then(read)
    }

    /// Notes that a key must be there.
    pub(super) fn missing(&self, key: &str, accepted: &str) {
        let message = "missing".to_owned();
        self.report.note(self.span.start, &self.path_of(key), Kind::Missing, message, Some(accepted.to_owned()));
    }

    /// Keys that are planned but not implemented: those that are there are problems of their own kind.
    pub(super) fn not_yet(&mut self, keys: &'static [&'static str]) {
        self.planned = keys;
    }

    /// Every key with its value, for tables whose keys are data: then no key is unknown.
    pub(super) fn entries(&mut self) -> Vec<(&'a str, Item<'a>)> {
        self.is_open = true;
        let (table, report): (&'a DeTable<'a>, _) = (self.table, self.report);
        let entry = |(key, value): (&'a Spanned<_>, _)| {
            let key: &'a str = Borrow::<str>::borrow(key);
            (key, Item { value, path: self.path_of(key), report })
        };
        table.iter().map(entry).collect()
    }

    fn finish(&self) {
        for key in self.table.keys().filter(|_| !self.is_open) {
            let name: &str = key.borrow();
            let note = |kind, message, accepted| {
                self.report.note(key.span().start, &self.path_of(name), kind, message, accepted);
            };
            if self.planned.contains(&name) {
                note(Kind::NotSupported, "this key is not supported by this version yet".to_owned(), None);
            } else if !self.asked.contains(&name) {
                let meant =
                    nearest(name, &self.asked).map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
                note(Kind::UnknownKey, format!("unknown key{meant}"), Some(list(&self.asked)));
            }
        }
    }

    fn path_of(&self, key: &str) -> String {
        let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let key = if bare { key.to_owned() } else { format!("{key:?}") };
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }
}

/// Names, ids and numbers that may occur once only.
#[derive(Debug)]
pub(super) struct Seen<K> {
    what: &'static str,
    lines: BTreeMap<K, usize>,
}

impl<K: Ord + Debug> Seen<K> {
    /// `what` says what is accepted, such as "a name that is unique within the plant".
    pub(super) const fn new(what: &'static str) -> Self {
        Self { what, lines: BTreeMap::new() }
    }

    /// Notes a problem at `item` if `key` has been seen before.
    pub(super) fn add(&mut self, key: K, item: &Item<'_>) {
        if let Some(line) = self.lines.get(&key) {
            let message = format!("{key:?} was used before, on line {line}");
            item.note(Kind::Duplicate, message, Some(self.what.to_owned()));
        } else {
            self.lines.insert(key, item.line());
        }
    }
}

/// The known key that `name` was probably meant to be.
pub(crate) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let distance = |key: &&'k str| strsim::damerau_levenshtein(name, key);
    let near = known.iter().copied().min_by_key(distance)?;
    (distance(&near) <= 1 + near.len() / 4).then_some(near)
}

fn list<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    words.into_iter().fold(String::new(), |text, word| {
        let comma = if text.is_empty() { "" } else { ", " };
        text + comma + word.as_ref()
    })
}
