//! YAML as a tree in which every value knows its place, built within budgets.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Most bytes of a file.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// Deepest nesting; a spec needs four levels.
const MAX_DEPTH: usize = 16;
/// Most values, copies by aliases included.
const MAX_NODES: usize = 20_000;
/// Most aliases.
const MAX_ALIASES: usize = 64;

/// Where something stands: lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// The column behind the last character, on the same line.
    pub(crate) end_column: usize,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Text as written; plain text is not quoted.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

/// The name of a field.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) place: Place,
    pub(crate) text: String,
}

/// The text is no tree that we read.
#[derive(Clone, Debug)]
pub(crate) struct TreeError {
    pub(crate) place: Place,
    pub(crate) reason: String,
}

impl Node {
    /// Whether nothing was written: `key:`, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true }
            if ["", "~", "null", "Null", "NULL"].contains(&text.as_str()))
    }

    fn count(&self) -> usize {
        match &self.kind {
            Kind::Scalar { .. } => 1,
            Kind::Sequence(nodes) => nodes.iter().map(Self::count).fold(1, usize::saturating_add),
            Kind::Mapping(entries) => {
                entries.iter().map(|(_, node)| node.count()).fold(1, usize::saturating_add)
            }
        }
    }

    fn depth(&self) -> usize {
        let below = match &self.kind {
            Kind::Scalar { .. } => None,
            Kind::Sequence(nodes) => nodes.iter().map(Self::depth).max(),
            Kind::Mapping(entries) => entries.iter().map(|(_, node)| node.depth()).max(),
        };
        below.unwrap_or(0).saturating_add(1)
    }
}

/// A sequence or mapping whose end has not come yet.
struct Open {
    place: Place,
    anchor: usize,
    items: Items,
}

enum Items {
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>, Option<Key>),
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    aliases: usize,
    root: Option<Node>,
}

fn place(span: Span) -> Place {
    let line = span.start.line();
    let column = span.start.col().saturating_add(1);
    let same_line = span.end.line() == line;
    let end = if same_line { span.end.col().saturating_add(1) } else { column };
    Place { line, column, end_column: end.max(column.saturating_add(1)) }
}

fn error<T>(place: Place, reason: impl Into<String>) -> Result<T, TreeError> {
    Err(TreeError { place, reason: reason.into() })
}

/// Reads one YAML document.
pub(crate) fn parse(text: &str) -> Result<Node, TreeError> {
    let start = Place { line: 1, column: 1, end_column: 2 };
    if text.len() > MAX_BYTES {
        return error(start, format!("the file has {} bytes, at most 1 MiB is read", text.len()));
    }
    if let Some(index) = text.find('\0') {
        let line = text.get(..index).map_or(1, |t| t.split('\n').count());
        return error(Place { line, ..start }, "the file holds a NUL byte");
    }
    let mut builder = Builder::default();
    let mut documents = 0usize;
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|scan| {
            let column = scan.marker().col().saturating_add(1);
            let end_column = column.saturating_add(1);
            let place = Place { line: scan.marker().line(), column, end_column };
            TreeError { place, reason: format!("not YAML: {}", scan.info()) }
        })?;
        let place = place(span);
        match event {
            Event::DocumentStart(_) => {
                documents = documents.saturating_add(1);
                if documents > 1 {
                    return error(place, "a second document: one file holds one task");
                }
            }
            Event::StreamEnd => break,
            Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
            event @ (Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd) => builder.event(event, place)?,
        }
    }
    builder.root.map_or_else(|| error(start, "the file is empty: write a task"), Ok)
}

impl Builder {
    fn event(&mut self, event: Event<'_>, place: Place) -> Result<(), TreeError> {
        if let Event::Scalar(_, _, _, tag)
        | Event::SequenceStart(_, tag)
        | Event::MappingStart(_, tag) = &event
            && tag.is_some()
        {
            return error(place, "a YAML tag: tags are not used, leave it out");
        }
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let kind = Kind::Scalar { text: text.into_owned(), plain };
                self.value(Node { place, kind }, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                self.start(Open { place, anchor, items: Items::Sequence(Vec::new()) })
            }
            Event::MappingStart(anchor, _) => {
                self.start(Open { place, anchor, items: Items::Mapping(Vec::new(), None) })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, place),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn spend(&mut self, nodes: usize, place: Place) -> Result<(), TreeError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return error(place, format!("more than {MAX_NODES} values, aliases counted in full"));
        }
        Ok(())
    }

    fn start(&mut self, open: Open) -> Result<(), TreeError> {
        self.spend(1, open.place)?;
        if self.open.len() >= MAX_DEPTH {
            return error(open.place, format!("nested deeper than {MAX_DEPTH} levels"));
        }
        if let Some(Items::Mapping(_, None)) = self.open.last().map(|open| &open.items) {
            return error(open.place, "a list or mapping as a field's name: write a text");
        }
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self) -> Result<(), TreeError> {
        let Some(Open { place, anchor, items }) = self.open.pop() else { return Ok(()) };
        let kind = match items {
            Items::Sequence(nodes) => Kind::Sequence(nodes),
            Items::Mapping(entries, _) => Kind::Mapping(entries),
        };
        self.add(Node { place, kind }, anchor)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), TreeError> {
        self.aliases = self.aliases.saturating_add(1);
        if self.aliases > MAX_ALIASES {
            return error(place, format!("more than {MAX_ALIASES} aliases"));
        }
        let Some(node) = self.anchors.get(&anchor) else {
            return error(place, "an alias of a value that isn't complete yet");
        };
        let (count, depth) = (node.count(), node.depth());
        if self.open.len().saturating_add(depth) > MAX_DEPTH {
            return error(place, format!("nested deeper than {MAX_DEPTH} levels by an alias"));
        }
        let copy = Node { place, kind: node.kind.clone() };
        self.spend(count, place)?;
        self.add(copy, 0)
    }

    fn value(&mut self, node: Node, anchor: usize) -> Result<(), TreeError> {
        self.spend(1, node.place)?;
        self.add(node, anchor)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), TreeError> {
        if anchor > 0 {
            // Counted, so that anchors cannot hold more than values do.
            self.spend(node.count(), node.place)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.items) {
            None => self.root = Some(node),
            Some(Items::Sequence(nodes)) => nodes.push(node),
            Some(Items::Mapping(entries, key)) => match key.take() {
                Some(name) => entries.push((name, node)),
                None => match node.kind {
                    Kind::Scalar { text, .. } => {
                        *key = Some(Key { place: node.place, text });
                    }
                    Kind::Sequence(_) | Kind::Mapping(_) => {
                        return error(node.place, "a list or mapping as a field's name");
                    }
                },
            },
        }
        Ok(())
    }
}
