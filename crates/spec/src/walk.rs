//! Going through a tree field by field, collecting every problem on the way.

use core::fmt;

use crate::fields::{SHAPES, Shape};
use crate::location::{Location, LocationError};
use crate::problem::Problem;
use crate::quantity::QuantityError;
use crate::tree::{Key, Kind, Node, Place};
use crate::words::{Words, find, listed, nearest};

/// Collects problems; a value that cannot be read is reported and then left out.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    pub(crate) problems: Vec<Problem>,
}

/// A mapping and the field that holds it.
pub(crate) struct Fields<'a> {
    pub(crate) place: Place,
    path: String,
    entries: &'a [(Key, Node)],
}

/// A value and the field that holds it.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
}

impl<'a> Fields<'a> {
    /// The field of this name, if something was written.
    pub(crate) fn get(&self, name: &str) -> Option<Field<'a>> {
        let (_, node) = self.entries.iter().find(|(key, _)| key.text == name)?;
        (!node.is_null()).then(|| Field { node, path: self.path_of(name) })
    }

    pub(crate) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Every name with its value.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'a Key, Field<'a>)> + '_ {
        self.entries.iter().map(|(key, node)| (key, Field { node, path: self.path_of(&key.text) }))
    }
}

impl Walk {
    /// More are not shown anyway.
    const MAX_PROBLEMS: usize = 1_000;

    pub(crate) fn report(&mut self, problem: Problem) {
        if self.problems.len() < Self::MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn wrong(&mut self, field: &Field<'_>, message: impl Into<String>) {
        self.report(Problem::new(field.node.place, &field.path, message));
    }

    /// All problems; a field that is missing because its name is mistyped is named once.
    pub(crate) fn into_problems(mut self) -> Vec<Problem> {
        let parent =
            |field: &str| field.rsplit_once('.').map_or("", |(parent, _)| parent).to_owned();
        let mistyped = |one: &Problem| {
            let nearest = one.nearest.as_ref().filter(|_| one.unknown)?;
            Some((parent(&one.field), nearest.clone()))
        };
        let meant: Vec<(String, String)> = self.problems.iter().filter_map(mistyped).collect();
        self.problems.retain(|one| {
            let name = one.field.rsplit('.').next().unwrap_or_default().to_owned();
            !(one.missing && meant.contains(&(parent(&one.field), name)))
        });
        self.problems
    }

    /// A field must be there.
    pub(crate) fn required<'a>(
        &mut self,
        fields: &Fields<'a>,
        name: &str,
        example: &str,
    ) -> Option<Field<'a>> {
        let found = fields.get(name);
        if found.is_none() {
            let message = format!("is missing: write `{example}`");
            let problem = Problem::new(fields.place, &fields.path_of(name), message);
            self.report(Problem { missing: true, ..problem });
        }
        found
    }

    /// A mapping with any names.
    pub(crate) fn entries<'a>(&mut self, field: &Field<'a>) -> Option<Fields<'a>> {
        let Kind::Mapping(entries) = &field.node.kind else {
            self.wrong(field, "is no mapping: write `name: value` lines");
            return None;
        };
        for (index, (key, _)) in entries.iter().enumerate() {
            if entries.iter().take(index).any(|(earlier, _)| earlier.text == key.text) {
                let path = if field.path.is_empty() { "" } else { &field.path };
                let path = format!("{path}{}{}", if path.is_empty() { "" } else { "." }, key.text);
                self.report(Problem::new(key.place, &path, "is there twice: keep one"));
            }
        }
        Some(Fields { place: field.node.place, path: field.path.clone(), entries })
    }

    /// A mapping with the names of its shape.
    pub(crate) fn mapping<'a>(&mut self, field: &Field<'a>, shape: &Shape) -> Option<Fields<'a>> {
        let fields = self.entries(field)?;
        for (key, _) in fields.entries {
            if !shape.fields.contains(&key.text.as_str()) {
                self.unknown(key, &fields.path_of(&key.text), shape);
            }
        }
        Some(fields)
    }

    fn unknown(&mut self, key: &Key, path: &str, shape: &Shape) {
        let meant = nearest(&key.text, shape.fields.iter().copied());
        let elsewhere = SHAPES.iter().find(|other| other.fields.contains(&key.text.as_str()));
        let message = match (meant, elsewhere) {
            (None, Some(other)) => format!("is unknown here: it is a field of {}", other.name),
            (Some(_), _) => "is unknown".to_owned(),
            (None, None) => format!("is unknown: {} has {}", shape.name, shape.fields.join(", ")),
        };
        let problem = Problem::new(key.place, path, message).with_nearest(meant);
        self.report(Problem { unknown: true, ..problem });
    }

    /// The items of a list.
    pub(crate) fn list<'a>(&mut self, field: &Field<'a>) -> Vec<Field<'a>> {
        let Kind::Sequence(nodes) = &field.node.kind else {
            self.wrong(field, "is no list: write `- value` lines");
            return Vec::new();
        };
        let item = |(index, node)| Field { node, path: format!("{}[{index}]", field.path) };
        nodes.iter().enumerate().map(item).collect()
    }

    /// A single value's text.
    pub(crate) fn text<'a>(&mut self, field: &Field<'a>) -> Option<&'a str> {
        match &field.node.kind {
            Kind::Scalar { text, .. } => Some(text),
            Kind::Sequence(_) => {
                self.wrong(field, "is a list: write one value");
                None
            }
            Kind::Mapping(_) => {
                self.wrong(field, "is a mapping: write one value");
                None
            }
        }
    }

    /// A place outside the task. One that carries a password is not repeated.
    pub(crate) fn location(&mut self, field: &Field<'_>) -> Option<Location> {
        let text = self.text(field)?;
        match text.parse() {
            Ok(location) => Some(location),
            Err(error) => {
                let problem = Problem::new(field.node.place, &field.path, error.to_string());
                self.report(match error {
                    LocationError::Credentials(_) => problem.with_secret(),
                    LocationError::Empty
                    | LocationError::Scheme(_)
                    | LocationError::Bucket(_)
                    | LocationError::Host
                    | LocationError::Character
                    | LocationError::Long => problem.with_value(text),
                });
                None
            }
        }
    }

    /// A value that its own type reads.
    pub(crate) fn parsed<T: core::str::FromStr<Err: fmt::Display>>(
        &mut self,
        field: &Field<'_>,
    ) -> Option<T> {
        let text = self.text(field)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let problem = Problem::new(field.node.place, &field.path, error.to_string());
                self.report(problem.with_value(text));
                None
            }
        }
    }

    /// A quantity with its unit.
    pub(crate) fn quantity<T>(
        &mut self,
        field: &Field<'_>,
        read: fn(&str) -> Result<T, QuantityError>,
    ) -> Option<T> {
        let text = self.text(field)?;
        match read(text) {
            Ok(value) => Some(value),
            Err(error) => {
                let problem = Problem::new(field.node.place, &field.path, error.to_string());
                self.report(problem.with_value(text).with_nearest(error.nearest));
                None
            }
        }
    }

    /// A whole number.
    pub(crate) fn whole<T: core::str::FromStr>(
        &mut self,
        field: &Field<'_>,
        range: &str,
    ) -> Option<T> {
        let text = self.text(field)?;
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let value = if digits { text.parse().ok() } else { None };
        if value.is_none() {
            let message = format!("is no whole number in range: write {range}");
            self.report(Problem::new(field.node.place, &field.path, message).with_value(text));
        }
        value
    }

    /// One of the words of a table.
    pub(crate) fn word<T: Copy>(&mut self, field: &Field<'_>, words: Words<T>) -> Option<T> {
        let text = self.text(field)?;
        let value = find(words, text);
        if value.is_none() {
            let names = || words.iter().map(|(name, _)| *name);
            let message = format!("is unknown: write {}", listed(names()));
            let problem = Problem::new(field.node.place, &field.path, message).with_value(text);
            self.report(problem.with_nearest(nearest(text, names())));
        }
        value
    }
}

/// The deepest value that exists on the way to a field such as `inputs[0].to`.
pub(crate) fn locate<'a>(root: &'a Node, path: &str) -> (&'a Node, bool) {
    let mut node = root;
    let mut rest = path;
    while !rest.is_empty() {
        let next = match (&node.kind, rest.strip_prefix('[')) {
            (Kind::Sequence(nodes), Some(indexed)) => {
                let Some((index, after)) = indexed.split_once(']') else { return (node, false) };
                let index = index.parse::<usize>().ok();
                index.and_then(|index| nodes.get(index)).map(|node| (node, after))
            }
            (Kind::Mapping(entries), None) => entries
                .iter()
                .filter_map(|(key, node)| Some((node, rest.strip_prefix(key.text.as_str())?)))
                .find(|(_, after)| after.is_empty() || after.starts_with(['.', '['])),
            (Kind::Scalar { .. } | Kind::Sequence(_) | Kind::Mapping(_), _) => None,
        };
        let Some((found, after)) = next else { return (node, false) };
        node = found;
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    (node, true)
}
